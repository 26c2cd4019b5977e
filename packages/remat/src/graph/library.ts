/**
 * Libraries and cost models. A library knows how operators can be run on some kind of device: implementations with
 * workspace, auxiliary tensors and what backward needs. A cost model puts times on them. The executor's library for ggml
 * and the roofline's for GPUs are two of them; a plan names implementations by their index in the library's order.
 */
import type { TrainingGraph } from "./graph.ts";

/** Which machine unit bounds an implementation. */
export type WorkClass = "matrix" | "convolution" | "memory";

/** What an implementation does, for cost models. */
export interface Work {
  readonly class: WorkClass;
  readonly flops: number;
  /** Bytes read and written. */
  readonly bytes: number;
  /** Kernels launched (default 1). */
  readonly kernels?: number;
  /** Relative speed of the implementation (default 1): a direct convolution below a tuned one has less. */
  readonly efficiency?: number;
}

/** A forward tensor that backward needs: an input by position, the output, or the auxiliary tensor. */
export type Need =
  | { readonly kind: "input"; readonly position: number }
  | { readonly kind: "output" }
  | { readonly kind: "auxiliary" };

/** One way to run an operator forward. */
export interface ForwardImplementation {
  /** Unique within the operator, such as "im2col". */
  readonly name: string;
  readonly workspaceBytes: number;
  readonly auxiliaryBytes?: number;
  /** Position of the operator input that it overwrites. */
  readonly inPlace?: number;
  readonly work: Work;
  /** Work when the operator has run before in the same step, where that is less. */
  readonly again?: Work;
}

/** One way to run an operator backward. */
export interface BackwardImplementation {
  readonly name: string;
  readonly workspaceBytes: number;
  readonly needs: readonly Need[];
  /** Position of the input whose gradient overwrites the gradient of the output. */
  readonly inPlace?: number;
  /** Parameter gradients first, then the named inputs are freed, then the input's gradient. */
  readonly split?: {
    readonly workspaceBytes: number;
    /** Positions of inputs that are freed between the halves. */
    readonly frees: readonly number[];
  };
  readonly work: Work;
}

/** All ways to run an operator; the first of each list is the default of checkpoint-only planning. */
export interface Implementations {
  readonly forward: readonly ForwardImplementation[];
  readonly backward: readonly BackwardImplementation[];
}

/** Ways to run the operators of a graph on one kind of device. */
export interface OperatorLibrary {
  readonly name: string;
  /** Throws MillraceError MODEL_UNSUPPORTED naming the operator when it cannot be run. */
  implementations(graph: TrainingGraph, operator: number): Implementations;
}

/** Times of implementations. */
export interface CostModel {
  /** Shown with every figure that rests on it. */
  readonly name: string;
  /** Seconds of one run. */
  seconds(
    graph: TrainingGraph,
    operator: number,
    direction: "forward" | "backward",
    implementation: ForwardImplementation | BackwardImplementation,
  ): number;
}
