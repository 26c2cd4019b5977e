/**
 * Block decomposition: a graph is cut where a single tensor crosses, and each block is solved exactly, once for all blocks
 * like it. Blocks meet in numbers only: the bytes that earlier blocks hold, and whether the tensor between them is there.
 * `bound` proves how fast a plan can be at most, `plan` puts blocks together as rotor does operators (Beaumont et al.,
 * 2019; Rockmate, Zhao et al., ICML 2023). A graph whose blocks are too large for tables is left to the other solvers.
 */
import type { Layout } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";

/** Operators `first` … `last`; between two blocks only the output of `last` is read. */
export interface Span {
  readonly first: number;
  readonly last: number;
}

/** How a graph is cut. */
export interface CutOptions {
  /** Tensors up to which blocks are put together. */
  readonly wanted: number;
  /** Tensors of the largest block. */
  readonly most: number;
  /** The same of the first block (default: `wanted`): nothing is held before it, so that its tables are few. */
  readonly head?: number;
  /** Operators whose outputs make good borders: bounds are closest where a border tensor stays. */
  readonly preferred?: Uint8Array;
}

/** How often a plan runs each operator, 2 standing for more: outputs of those that run once make good borders. */
export function runCounts(problem: Problem, plan: Plan): Uint8Array {
  const counts = new Uint8Array(problem.operators.length);
  for (const action of plan)
    if (action.kind === "forward")
      counts[action.operator] = Math.min(2, (counts[action.operator] as number) + 1);
  return counts;
}

/**
 * The blocks of a problem, or null when one of them has too many tensors. At a border the next operator reads
 * the tensor, all its backward choices need it and no forward choice overwrites it: it lives or is made again until then.
 */
export function spansOf(problem: Problem, layout: Layout, options: CutOptions): Span[] | null {
  const n = layout.count;
  const { operators } = problem;
  const bits = (first: number, last: number): number => {
    let sum = 1;
    for (let j = first; j <= last; j++)
      if (layout.idle[j] === 0) sum += (layout.auxiliary[j] as number) > 0 ? 2 : 1;
    return sum;
  };
  // The earliest operator whose tensors are read, backward or forward, by operators beyond j.
  const reach = new Int32Array(n + 1).fill(n);
  for (let j = n - 1; j >= 0; j--) {
    let least = reach[j + 1] as number;
    for (const u of operators[j]?.inputs ?? []) least = Math.min(least, u);
    for (const choice of operators[j]?.backward ?? [])
      for (const t of choice.needs) least = Math.min(least, t < n ? t : t - n + 0.5);
    reach[j] = Math.floor(least);
  }
  const isCut = (j: number): boolean => {
    const next = operators[j + 1];
    if (next === undefined || (reach[j + 1] as number) < j || !next.inputs.includes(j))
      return false;
    const readers = layout.consumers[j] as Int32Array;
    if (readers.some((v) => operators[v]?.forward.some((c) => c.inPlace === j))) return false;
    // Nobody beyond looks at its auxiliary tensor.
    for (let v = j + 1; v < n; v++)
      if (operators[v]?.backward.some((c) => c.needs.includes(n + j))) return false;
    return next.backward.every((c) => c.needs.includes(j));
  };
  // Fewest and best borders: a shortest path over them.
  const cuts = [-1];
  for (let j = 0; j < n; j++) if (j === n - 1 || isCut(j)) cuts.push(j);
  const cost = new Float64Array(cuts.length).fill(Number.POSITIVE_INFINITY);
  const from = new Int32Array(cuts.length).fill(-1);
  cost[0] = 0;
  for (let i = 1; i < cuts.length; i++) {
    const last = cuts[i] as number;
    const price = last === n - 1 || options.preferred?.[last] === 1 ? 1 : 4;
    for (let k = i - 1; k >= 0; k--) {
      const size = bits((cuts[k] as number) + 1, last);
      const wanted = k === 0 ? (options.head ?? options.wanted) : options.wanted;
      if (size > Math.max(wanted, k === i - 1 ? options.most : 0)) {
        if (size > (options.head ?? 0)) break;
        continue;
      }
      // Even blocks: the largest of them is what tables cost.
      const value = (cost[k] as number) + price + 2 ** (size - wanted);
      if (value < (cost[i] as number)) {
        cost[i] = value;
        from[i] = k;
      }
    }
  }
  if (!Number.isFinite(cost.at(-1) as number)) return null;
  const spans: Span[] = [];
  for (let i = cuts.length - 1; i > 0; i = from[i] as number)
    spans.unshift({ first: (cuts[from[i] as number] as number) + 1, last: cuts[i] as number });
  return spans;
}
