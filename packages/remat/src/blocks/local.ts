/** A block as bits: its tensors, its input and its moves, relative to the memory in use at its last backward operator. */
import type { Layout } from "../problem/layout.ts";
import { type Problem, timeAgain } from "../problem/problem.ts";
import type { SetRun } from "../problem/runs.ts";
import type { Span } from "./cuts.ts";

/** A forward choice of a block's operator; masks of tensors. */
export interface LocalForward extends SetRun {
  readonly choice: number;
  readonly time: number;
  readonly again: number;
  readonly inputs: number;
}

/** A backward choice: `first` and `second` are what its halves take above base and what is live. */
export interface LocalBackward {
  readonly choice: number;
  readonly time: number;
  readonly needs: number;
  readonly frees: number;
  readonly first: number;
  readonly second: number;
}

/** Moves of a span as bits. Bit 0 is its input; then come, operator by operator, output and auxiliary tensor where there is one. */
export interface LocalMoves {
  readonly span: Span;
  readonly count: number;
  /** Bits in use up to and with operator j; bits of the input alone at index 0 of `below`. */
  readonly bits: Int32Array;
  readonly below: Int32Array;
  /** Tensor of the problem, by bit; -1 for an input that does not exist. */
  readonly tensors: Int32Array;
  /** Empty where the operator need not run. */
  readonly forward: readonly (readonly LocalForward[])[];
  readonly backward: readonly (readonly LocalBackward[])[];
  /** Tensors that a forward or backward of an operator touches, which may be freed after it. */
  readonly touched: Int32Array;
  readonly touchedBackward: Int32Array;
  /** base(b) and base(b - 1) less `ground`. */
  readonly base: Float64Array;
  readonly baseAfter: Float64Array;
  /** Memory in use at the span's last backward operator, forward tensors apart. */
  readonly ground: number;
}

/** A block: its moves with tables over all its sets. */
export interface LocalBlock extends LocalMoves {
  /** Least such memory at any later backward operator, less `ground`; 0 for the last block. */
  readonly later: number;
  /** Bit of the block's output. */
  readonly output: number;
  /** Bytes of each set of tensors. */
  readonly sizes: Float64Array;
  /** Least time to make any tensor of a set again, its input apart; Infinity where there is none. */
  readonly makes: Float64Array;
  /** Sets by size, ascending, without input and output. */
  readonly inner: Int32Array;
  readonly isLast: boolean;
  /** Equal for blocks that differ in place alone. */
  readonly key: string;
}

/** Bytes of a tensor; an auxiliary one has a single size wherever sets of tensors are counted. */
export function tensorSize(problem: Problem, layout: Layout, tensor: number): number {
  const n = layout.count;
  if (tensor < 0) return 0;
  return tensor < n
    ? (problem.operators[tensor]?.output ?? 0)
    : (layout.auxiliary[tensor - n] as number);
}

/** The moves of a span. */
export function localMoves(problem: Problem, layout: Layout, span: Span): LocalMoves {
  const { first, last } = span;
  const { operators } = problem;
  const n = layout.count;
  const count = last - first + 1;
  const tensors: number[] = [first - 1];
  const bitOf = new Map<number, number>([[first - 1, 1]]);
  const bits = new Int32Array(count);
  const below = new Int32Array(count);
  for (let j = first; j <= last; j++) {
    below[j - first] = tensors.length;
    if (layout.idle[j] === 0)
      for (const t of (layout.auxiliary[j] as number) > 0 ? [j, n + j] : [j]) {
        bitOf.set(t, 1 << tensors.length);
        tensors.push(t);
      }
    bits[j - first] = tensors.length;
  }
  const mask = (list: readonly number[]): number =>
    list.reduce((word, t) => word | (bitOf.get(t) ?? 0), 0);
  const forward: LocalForward[][] = [];
  const backward: LocalBackward[][] = [];
  const touched = new Int32Array(count);
  const touchedBackward = new Int32Array(count);
  const base = new Float64Array(count);
  const baseAfter = new Float64Array(count);
  const ground = layout.base[last] as number;
  const end = operators.reduce((sum, op) => sum + op.parameterGradient, problem.fixed);
  for (let k = 0; k < count; k++) {
    const j = first + k;
    const op = operators[j];
    if (op === undefined) continue;
    const inputs = mask([...(layout.inputs[j] as Int32Array)]);
    const own = mask([j, n + j]);
    const forwards = layout.idle[j] === 1 ? [] : op.forward;
    forward.push(
      forwards.map((c, choice) => ({
        choice,
        time: c.time,
        again: timeAgain(c),
        inputs,
        output: mask([j]),
        outputSize: op.output,
        auxiliary: c.auxiliary === undefined ? 0 : mask([n + j]),
        auxiliarySize: c.auxiliary ?? 0,
        inPlace: c.inPlace === undefined ? 0 : mask([c.inPlace]),
        workspace: c.workspace,
      })),
    );
    backward.push(
      op.backward.map((p, choice) => {
        const spared = p.inPlace === undefined ? 0 : (operators[p.inPlace]?.output ?? 0);
        return {
          choice,
          time: p.time,
          needs: mask(p.needs),
          frees: mask(p.split?.frees ?? []),
          first:
            p.split === undefined
              ? Number.NEGATIVE_INFINITY
              : op.parameterGradient + p.split.workspace,
          second: op.parameterGradient + (layout.fresh[j] as number) - spared + p.workspace,
        };
      }),
    );
    touched[k] = inputs | own;
    touchedBackward[k] = (backward[k] as LocalBackward[]).reduce((word, p) => word | p.needs, own);
    base[k] = (layout.base[j] as number) - ground;
    baseAfter[k] = (j > 0 ? (layout.base[j - 1] as number) : end) - ground;
  }
  return {
    span,
    count,
    bits,
    below,
    tensors: Int32Array.from(tensors),
    forward,
    backward,
    touched,
    touchedBackward,
    base,
    baseAfter,
    ground,
  };
}

/** The block of a span; tables over its sets have 2 to the power of its bits entries. */
export function localBlock(problem: Problem, layout: Layout, span: Span): LocalBlock {
  const moves = localMoves(problem, layout, span);
  const { forward, backward, base, baseAfter, ground } = moves;
  const { last } = span;
  const n = layout.count;
  const tensors = [...moves.tensors];
  const bytes = tensors.map((t) => tensorSize(problem, layout, t));
  let later = last === n - 1 ? ground : Number.POSITIVE_INFINITY;
  for (let b = last + 1; b < n; b++) later = Math.min(later, layout.base[b] as number);
  const sets = 2 ** tensors.length;
  const sizes = new Float64Array(sets);
  for (let s = 1; s < sets; s++) {
    const low = s & -s;
    sizes[s] = (sizes[s ^ low] as number) + (bytes[31 - Math.clz32(low)] as number);
  }
  const again = new Float64Array(tensors.length).fill(Number.POSITIVE_INFINITY);
  for (const [k, choices] of forward.entries())
    again.fill(
      choices.reduce((time, c) => Math.min(time, c.again), Number.POSITIVE_INFINITY),
      moves.below[k],
      moves.bits[k],
    );
  const makes = new Float64Array(sets).fill(Number.POSITIVE_INFINITY);
  for (let s = 2; s < sets; s++) {
    const low = s & -s;
    makes[s] = Math.min(makes[s ^ low] as number, again[31 - Math.clz32(low)] as number);
  }
  const output = 1 << tensors.indexOf(last);
  const free: number[] = [];
  for (let s = 0; s < sets; s += 2) if ((s & output) === 0) free.push(s);
  free.sort((a, b) => (sizes[a] as number) - (sizes[b] as number));
  const round = (value: number): number => Number(value.toPrecision(12));
  const shape = [forward, backward, [...base].map(round), [...baseAfter].map(round)];
  return {
    ...moves,
    later: later - ground,
    output,
    sizes,
    makes,
    inner: Int32Array.from(free),
    isLast: last === n - 1,
    key: JSON.stringify([shape, bytes, last === n - 1], (_, v) =>
      typeof v === "number" ? round(v) : v,
    ),
  };
}
