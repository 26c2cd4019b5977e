/** Did you mean: the nearest of some names to a mistyped one. */

/**
 * The candidate nearest to `word`, or null when none is near: at most a third of the letters may differ (a swap of
 * neighbours counts as one), or the candidate starts with the word. Case does not matter; ties go to the first.
 */
export function didYouMean(word: string, candidates: Iterable<string>): string | null {
  const wanted = word.toLowerCase();
  let best: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const name = candidate.toLowerCase();
    if (candidate === word) return candidate;
    const limit = Math.max(1, Math.floor(Math.max(wanted.length, name.length) / 3));
    // A longer text is no typing error of a name, and the table below is quadratic.
    if (Math.abs(wanted.length - name.length) <= limit && wanted.length < 200) {
      const distance = editDistance(wanted, name);
      if (distance <= limit && distance < wanted.length && distance < least) {
        least = distance;
        best = candidate;
      }
    }
    if (wanted.length >= 3 && name.startsWith(wanted) && least > limit) {
      least = limit + 0.5;
      best = candidate;
    }
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let before = new Array<number>(b.length + 1).fill(0);
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(
        (above[j] as number) + 1,
        (row[j - 1] as number) + 1,
        (above[j - 1] as number) + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, (before[j - 2] as number) + 1);
      row.push(cost);
    }
    before = above;
    above = row;
  }
  return above[b.length] as number;
}

/** `did you mean "x"?`, or undefined when nothing is near. */
export function suggestion(word: string, candidates: Iterable<string>): string | undefined {
  const near = didYouMean(word, candidates);
  return near === null ? undefined : `did you mean "${near}"?`;
}
