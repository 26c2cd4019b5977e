/** Changes to single gradients of a group step: true labels, hard ones, and pairs that are filtered. */

/** At one place (index of the label in the pass × group + point): g ← factor g - less. */
export interface Fix {
  readonly at: number;
  readonly factor: number;
  readonly less: number;
}

/** Changes the gradients of a block: told the first label of the block in the pass, and how many there are. */
export type Fixer = (first: number, count: number, gradients: Float32Array) => void;

/** Applies `fixes` (sorted here) block by block, in ascending order of blocks; a pass may begin at any block. */
export function fixer(fixes: Fix[], group: number): Fixer {
  fixes.sort((a, b) => a.at - b.at);
  let next = 0;
  return (first, count, gradients) => {
    const end = (first + count) * group;
    for (; next < fixes.length; next++) {
      const { at, factor, less } = fixes[next] as Fix;
      if (at >= end) return;
      if (at < first * group) continue;
      const here = at - first * group;
      gradients[here] = (gradients[here] as number) * factor - less;
    }
  };
}
