/**
 * Exact neighbourhoods: of a plan, everything about a few operators (the window) is decided anew, in all stages at once,
 * while the rest stays as it is. The rest is then a list of events with so much room and such needs, and the best the
 * window can do is a dynamic program over events and the sets of its tensors. A window of twelve tensors takes
 * milliseconds, and the plan it started from is always among those it chooses from: no step makes a plan slower.
 */
import type { Layout } from "../problem/layout.ts";
import type { BackwardChoice, Problem, TensorId } from "../problem/problem.ts";
import type { SetRun } from "../problem/runs.ts";

/** The operators of a window and the bits of their tensors, ascending by operator. */
export interface Window {
  readonly operators: readonly number[];
  /** Tensor of the problem, by bit. */
  readonly tensors: readonly TensorId[];
  /** Mask of a tensor's bit; 0 outside the window. */
  readonly bitOf: Int32Array;
  /** Bits of tensors of operators up to b, by b. */
  readonly bitsUpTo: Int32Array;
  /** Bytes of each set. */
  readonly sizes: Float64Array;
}

/**
 * The window around operators: closed under what they may overwrite, and without the last ones while it has more than
 * `maxBits` tensors. Null when nothing is left.
 */
export function windowOf(
  problem: Problem,
  layout: Layout,
  wanted: Iterable<number>,
  maxBits: number,
): Window | null {
  const { operators } = problem;
  const n = layout.count;
  const chosen = new Set<number>();
  let bits = 0;
  const bitsOf = (j: number): number => ((layout.auxiliary[j] as number) > 0 ? 2 : 1);
  for (const j of wanted) {
    // Operators come with all that they may overwrite, or not at all.
    const group: number[] = [];
    const stack = [j];
    while (stack.length > 0) {
      const at = stack.pop() as number;
      if (chosen.has(at) || group.includes(at)) continue;
      group.push(at);
      for (const c of operators[at]?.forward ?? [])
        if (c.inPlace !== undefined) stack.push(c.inPlace);
    }
    const more = group.reduce((sum, at) => sum + bitsOf(at), 0);
    if (bits + more > maxBits) continue;
    bits += more;
    for (const at of group) chosen.add(at);
  }
  if (chosen.size === 0) return null;
  const list = [...chosen].sort((a, b) => a - b);
  const tensors = list.flatMap((j) => ((layout.auxiliary[j] as number) > 0 ? [j, n + j] : [j]));
  const bitOf = new Int32Array(2 * n);
  for (const [bit, tensor] of tensors.entries()) bitOf[tensor] = 1 << bit;
  const bitsUpTo = new Int32Array(n);
  let count = 0;
  for (let b = 0; b < n; b++) {
    if (chosen.has(b)) count += bitsOf(b);
    bitsUpTo[b] = count;
  }
  const sizeOf = (t: TensorId): number =>
    t < n ? (operators[t]?.output ?? 0) : (layout.auxiliary[t - n] as number);
  const sizes = new Float64Array(2 ** tensors.length);
  for (let s = 1; s < sizes.length; s++) {
    const low = s & -s;
    sizes[s] = (sizes[s ^ low] as number) + sizeOf(tensors[31 - Math.clz32(low)] as number);
  }
  return { operators: list, tensors, bitOf, bitsUpTo, sizes };
}

/** A forward choice of an operator of the window that can be taken at a slot. */
export interface Run extends SetRun {
  readonly choice: number;
  readonly time: number;
  readonly inputs: number;
}

/** A backward choice of an operator of the window that can be taken where it is. */
export interface Back {
  readonly choice: number;
  readonly time: number;
  readonly needs: number;
  readonly frees: number;
  /** Tensors outside the window that its split frees. */
  readonly freesOutside: readonly TensorId[];
  /** Room for the window's tensors: before and after the split, and when it has ended. */
  readonly first: number;
  readonly second: number;
  readonly after: number;
}

/**
 * What happens, as the window sees it. `at` is the place in the plan before which the window acts.
 * - hold: sets may take at most `room`;
 * - need: an action outside needs `needs`, takes at most `room` with everything else, and overwrites or frees `loses`
 *   (in `roomAfter` and without them when it is a backward in halves);
 * - slot: operator `operator` may run, `room` being there for the window's tensors and what the run takes;
 * - back: backward of `operator`.
 */
export type Event =
  | { readonly kind: "hold"; readonly at: number; readonly room: number }
  | {
      readonly kind: "need";
      readonly at: number;
      readonly needs: number;
      readonly loses: number;
      readonly room: number;
      readonly roomAfter: number;
      readonly staying: number;
    }
  | {
      readonly kind: "slot";
      readonly at: number;
      readonly operator: number;
      readonly runs: readonly Run[];
      readonly must: boolean;
      readonly room: number;
      readonly touched: number;
      readonly bits: number;
    }
  | {
      readonly kind: "back";
      readonly at: number;
      readonly operator: number;
      readonly choices: readonly Back[];
      readonly touched: number;
      readonly bits: number;
      readonly staying: number;
    };

/** What a backward choice takes beyond base and live: its first half (-Infinity without one) and the rest. */
export function backwardExtra(
  problem: Problem,
  layout: Layout,
  k: number,
  choice: BackwardChoice,
): { readonly first: number; readonly second: number } {
  const op = problem.operators[k];
  const spared =
    choice.inPlace === undefined ? 0 : (problem.operators[choice.inPlace]?.output ?? 0);
  const gradient = op?.parameterGradient ?? 0;
  return {
    first:
      choice.split === undefined ? Number.NEGATIVE_INFINITY : gradient + choice.split.workspace,
    second: gradient + (layout.fresh[k] as number) - spared + choice.workspace,
  };
}
