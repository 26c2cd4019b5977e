/**
 * What the executor can compute: for each operation the implementations of its forward and backward pass, what they read
 * and what they keep. Activations of images lie as [W, H, N, C] (a channel's values of the whole batch are adjacent, so
 * that batch norm works on rows and a product with columns needs no permutation), those of texts as [width, tokens,
 * batch]; extents are listed fastest first. Everything is f32 unless said otherwise.
 */
import type { Operation } from "../../graph/operation.ts";
import type { KernelBuild, OperandShape } from "../kernel.ts";

/** One operator as kernels see it. */
export interface OperatorShape {
  readonly operation: Operation;
  /** Outputs of other operators, in order. */
  readonly inputs: readonly (readonly number[])[];
  /** Network inputs: images f32 [W, H, N, C], tokens and labels i32 [n]. */
  readonly reads: readonly OperandShape[];
  readonly output: readonly number[];
  readonly parameters: readonly (readonly number[])[];
}

/** The operation of an operator whose kind is known. */
export type OperationOf<K extends Operation["kind"]> = Extract<Operation, { kind: K }>;

/** What draws of random numbers depend on. */
export interface StepContext {
  readonly seed: number;
  /** Optimizer steps before this one. */
  readonly step: number;
  readonly operator: number;
}

/** Code in JavaScript and WebAssembly that works on the operands' bytes. */
export type HostKernel = (
  operands: ReadonlyMap<string, Uint8Array>,
  op: OperatorShape,
  context: StepContext,
) => void;

/** How a kernel is computed: by ggml, or on the host. */
export type Code =
  | { readonly native: (op: OperatorShape) => KernelBuild }
  | { readonly host: HostKernel };

/**
 * Operands by name: x0, x1, … inputs; r0, … network inputs; w0, … parameters; y output; a auxiliary; s statistics. A
 * forward kernel writes y, a when it has auxiliary bytes, and s where the operator has statistics.
 */
export interface Forward {
  readonly name: string;
  readonly code: Code;
  readonly auxiliaryBytes?: (op: OperatorShape) => number;
  /** Position of the input whose memory becomes the output: the kernel finds it under y, not under x. */
  readonly inPlace?: number;
  readonly fits?: (op: OperatorShape) => boolean;
}

/**
 * Operands beside those above: dy, the output's gradient; dx0, … and dw0, …, gradients to write. dx0 is missing where the
 * input is a network input. Parts run one after the other: the inputs that the first alone reads may be freed in between.
 */
export interface Backward {
  readonly name: string;
  readonly parts: readonly BackwardPart[];
  /** Position of the input whose gradient is written over dy: the kernel finds it there, and has no dx of that position. */
  readonly inPlace?: number;
  readonly fits?: (op: OperatorShape) => boolean;
}

export interface BackwardPart {
  readonly code: Code;
  /** Forward tensors it reads: x0, x1, …, y, a. */
  readonly needs: readonly string[];
  /** What it writes: all gradients of parameters, of inputs, or both. */
  readonly writes: "parameters" | "inputs" | "all";
}

export interface OperatorKind {
  readonly forward: readonly Forward[];
  readonly backward: readonly Backward[];
  /** Numbers the kernels read that are the same in every step, by operand name. */
  readonly constants?: (op: OperatorShape) => ReadonlyMap<string, Int32Array>;
  /**
   * Channels of which it takes means and variances: each forward kernel writes those of the batch to s [2 channels], means
   * first.
   */
  readonly statistics?: (op: OperatorShape) => number;
  /** What it computes once training is over, y from x0, where that differs; s holds the statistics of the training. */
  readonly inference?: Code;
}

/** Elements of a shape. */
export function count(ne: readonly number[]): number {
  return ne.reduce((product, n) => product * n, 1);
}

/** A backward pass in one part. */
export function whole(
  name: string,
  needs: readonly string[],
  code: Code,
  more: { readonly inPlace?: number } = {},
): Backward {
  return { name, parts: [{ code, needs, writes: "all" }], ...more };
}
