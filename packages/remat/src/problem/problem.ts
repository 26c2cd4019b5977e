/**
 * The planning problem: a training graph reduced to numbers. It is what every solver, baseline and the simulator work on,
 * and what files of the format millrace.remat-cases/1 hold. Sizes and times have any unit (bytes and seconds where a
 * graph was lowered). Its meaning is defined by simulate.ts alone; docs/decisions/0101 says it in words.
 * MONeT (Shah, Wu, Mohan, Chidambaram, Krähenbühl, ICLR 2021), sections 3 and 4.
 */

/**
 * A forward tensor of a problem of n operators: j < n is the output of operator j, n + j its auxiliary tensor (a packed
 * mask, kept columns, pool indices). Written "oJ" and "aJ" in files.
 */
export type TensorId = number;

/** One way to run an operator forward. */
export interface ForwardChoice {
  /** Name of the implementation where a library gave one. */
  readonly name?: string;
  readonly time: number;
  /** Time once the operator has run in this step, where that differs: batch norm has its statistics then. */
  readonly again?: number;
  readonly workspace: number;
  /** Size of the auxiliary tensor that it makes beside its output. */
  readonly auxiliary?: number;
  /** Operator (an input) whose output it overwrites: that tensor is gone, its storage is this operator's output. */
  readonly inPlace?: number;
}

/** One way to run an operator backward. */
export interface BackwardChoice {
  readonly name?: string;
  readonly time: number;
  readonly workspace: number;
  /** Forward tensors that have to be there. */
  readonly needs: readonly TensorId[];
  /** Operator (an input) whose gradient is written over the gradient of the output: no new buffer for it. */
  readonly inPlace?: number;
  /**
   * It runs in halves: parameter gradients first, with `workspace` here; then the tensors `frees` (some of `needs`) go;
   * then the input's gradient is made, with `workspace` of the choice. New gradient buffers exist in the second half only.
   */
  readonly split?: { readonly workspace: number; readonly frees: readonly TensorId[] };
}

/** An operator; its inputs are outputs of earlier operators. Network inputs are part of `fixed`. */
export interface ProblemOperator {
  readonly name: string;
  readonly inputs: readonly number[];
  readonly output: number;
  /** Size of its parameters' gradients, which stay from its backward on. */
  readonly parameterGradient: number;
  readonly forward: readonly ForwardChoice[];
  readonly backward: readonly BackwardChoice[];
}

/** Time of a forward choice when the operator has run before in the same step. */
export function timeAgain(choice: { readonly time: number; readonly again?: number }): number {
  return choice.again ?? choice.time;
}

/** Operators in an order in which they can run; the last one is the loss. */
export interface Problem {
  readonly name: string;
  /** Resident throughout: parameters, optimizer state, network input. */
  readonly fixed: number;
  readonly operators: readonly ProblemOperator[];
}

/** "o3" or "a3". */
export function tensorName(problem: Problem, tensor: TensorId): string {
  const n = problem.operators.length;
  return tensor < n ? `o${tensor}` : `a${tensor - n}`;
}

/** The tensor of a name, -1 when there is none. */
export function tensorOf(problem: Problem, name: string): TensorId {
  const match = /^([oa])(\d{1,9})$/.exec(name);
  const n = problem.operators.length;
  const j = match === null ? n : Number(match[2]);
  if (match === null || j >= n) return -1;
  return match[1] === "o" ? j : n + j;
}
