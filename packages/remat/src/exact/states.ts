/** Live sets of tiny problems as bits: outputs in one word, auxiliary tensors (one bit per size) in another. */
import { type Layout, layoutOf } from "../problem/layout.ts";
import type { Problem } from "../problem/problem.ts";

/** A forward action in bits; `add` and `drop` are words of outputs and of auxiliary tensors. */
export interface ForwardMove {
  readonly operator: number;
  readonly choice: number;
  readonly time: number;
  readonly inputs: number;
  readonly output: number;
  readonly outputSize: number;
  /** Bits of all sizes of its auxiliary tensor, the bit that it makes (0: none) and that size. */
  readonly anyAuxiliary: number;
  readonly auxiliary: number;
  readonly auxiliarySize: number;
  readonly inPlace: number;
  readonly workspace: number;
}

/** A backward action in bits. Each needed auxiliary tensor is a word of which one bit must be set. */
export interface BackwardMove {
  readonly choice: number;
  readonly time: number;
  readonly needs: number;
  readonly needsAuxiliary: readonly number[];
  /** What a split frees between its halves. */
  readonly frees: number;
  readonly freesAuxiliary: number;
  /** Above base and live: first half (-Infinity without a split), and the whole or second half. */
  readonly first: number;
  readonly second: number;
}

/** A problem in bits. */
export interface BitProblem {
  readonly layout: Layout;
  readonly count: number;
  readonly sizes: Float64Array;
  readonly auxiliarySizes: Float64Array;
  /** Operator of each auxiliary bit. */
  readonly auxiliaryOwner: Int32Array;
  readonly forward: readonly (readonly ForwardMove[])[];
  readonly backward: readonly (readonly BackwardMove[])[];
  /** Tensors that can still be of use while b is the next backward operator. */
  readonly useful: Int32Array;
  readonly usefulAuxiliary: Int32Array;
}

/** Most bits per word: words stay small integers. */
export const maxBits = 24;

/** The problem in bits, or null when it has too many tensors. */
export function toBits(problem: Problem): BitProblem | null {
  const layout = layoutOf(problem);
  const { operators } = problem;
  const n = layout.count;
  const auxiliarySizes: number[] = [];
  const auxiliaryOwner: number[] = [];
  const variants = operators.map((op, j) => {
    const bits = new Map<number, number>();
    for (const { auxiliary } of op.forward)
      if (auxiliary !== undefined && !bits.has(auxiliary)) {
        bits.set(auxiliary, auxiliarySizes.length);
        auxiliarySizes.push(auxiliary);
        auxiliaryOwner.push(j);
      }
    return bits;
  });
  if (n > maxBits || auxiliarySizes.length > maxBits) return null;
  const anyOf = variants.map((bits) =>
    [...bits.values()].reduce((word, bit) => word | (1 << bit), 0),
  );
  const forward = operators.map((op, j) =>
    op.forward.map((choice, c): ForwardMove => {
      const bit = choice.auxiliary === undefined ? -1 : (variants[j]?.get(choice.auxiliary) ?? -1);
      return {
        operator: j,
        choice: c,
        time: choice.time,
        inputs: (layout.inputs[j] as Int32Array).reduce((word, u) => word | (1 << u), 0),
        output: 1 << j,
        outputSize: op.output,
        anyAuxiliary: anyOf[j] as number,
        auxiliary: bit < 0 ? 0 : 1 << bit,
        auxiliarySize: choice.auxiliary ?? 0,
        inPlace: choice.inPlace === undefined ? 0 : 1 << choice.inPlace,
        workspace: choice.workspace,
      };
    }),
  );
  const backward = operators.map((op, k) =>
    op.backward.map((choice, p): BackwardMove => {
      const fresh =
        (layout.fresh[k] as number) -
        (choice.inPlace === undefined ? 0 : (operators[choice.inPlace]?.output ?? 0));
      const word = (tensors: readonly number[]): number =>
        tensors.reduce((bits, t) => (t < n ? bits | (1 << t) : bits), 0);
      const owners = (tensors: readonly number[]): number[] =>
        tensors.filter((t) => t >= n).map((t) => anyOf[t - n] as number);
      const frees = choice.split?.frees ?? [];
      return {
        choice: p,
        time: choice.time,
        needs: word(choice.needs),
        needsAuxiliary: owners(choice.needs),
        frees: word(frees),
        freesAuxiliary: owners(frees).reduce((bits, any) => bits | any, 0),
        first:
          choice.split === undefined
            ? Number.NEGATIVE_INFINITY
            : op.parameterGradient + choice.split.workspace,
        second: op.parameterGradient + fresh + choice.workspace,
      };
    }),
  );
  const useful = new Int32Array(n);
  const usefulAuxiliary = new Int32Array(n);
  let word = 0;
  let auxiliaryWord = 0;
  for (let b = 0; b < n; b++) {
    for (const u of layout.inputs[b] as Int32Array) word |= 1 << u;
    for (const move of backward[b] as BackwardMove[]) {
      word |= move.needs;
      for (const any of move.needsAuxiliary) auxiliaryWord |= any;
    }
    useful[b] = word;
    usefulAuxiliary[b] = auxiliaryWord;
  }
  return {
    layout,
    count: n,
    sizes: Float64Array.from(operators, (op) => op.output),
    auxiliarySizes: Float64Array.from(auxiliarySizes),
    auxiliaryOwner: Int32Array.from(auxiliaryOwner),
    forward,
    backward,
    useful,
    usefulAuxiliary,
  };
}
