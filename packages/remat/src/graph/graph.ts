/**
 * Training graphs: what a model computes, with shapes, before anyone says how. Generators (models/), ONNX and traces make
 * them; a library says which implementations each operator has (library.ts); `lower` turns both and a cost model into a
 * planning problem. The executor runs the same graphs. Batch is part of every shape.
 */
import type { Operation } from "./operation.ts";

/** Element types of activations and inputs. */
export type ElementType = "f32" | "f16" | "bf16" | "i32";

/** Bytes per element. */
export const elementBytes: Readonly<Record<ElementType, number>> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  i32: 4,
};

/** Something the network is given: images, tokens, labels. Resident throughout a step. */
export interface GraphInput {
  readonly name: string;
  /** Outermost first: [batch, channels, height, width] or [batch, tokens]. */
  readonly dims: readonly number[];
  readonly type: ElementType;
}

/** A trained tensor. */
export interface Parameter {
  /** As files name it: the engine's GGUF name for a decoder, PyTorch's for a vision model. */
  readonly name: string;
  /** Outermost first: [out, in, kh, kw] of a convolution, [out, in] of a linear operator. */
  readonly dims: readonly number[];
}

/** One operator of the forward pass, with one output. */
export interface Operator {
  /** Unique, such as "layer1.0.conv2". */
  readonly name: string;
  readonly operation: Operation;
  /** Operators whose outputs it reads, in the operation's order of operands. */
  readonly inputs: readonly number[];
  /** Network inputs it reads, by index into `graph.inputs`, in the operation's order. */
  readonly reads: readonly number[];
  /** Shape of the output, outermost first; [1] of a loss. */
  readonly dims: readonly number[];
  readonly parameters: readonly Parameter[];
}

/** Operators in an order in which they can run; the last is the loss. Views are no operators: consumers see through them. */
export interface TrainingGraph {
  readonly name: string;
  readonly batch: number;
  /** Element type of activations, parameters and gradients. */
  readonly type: ElementType;
  readonly inputs: readonly GraphInput[];
  readonly operators: readonly Operator[];
}

/** Product of the dimensions. */
export function elements(dims: readonly number[]): number {
  return dims.reduce((product, d) => product * d, 1);
}

/** Bytes of a tensor of the graph's type. */
export function tensorBytes(graph: TrainingGraph, dims: readonly number[]): number {
  return elements(dims) * elementBytes[graph.type];
}

/** Bytes of the output of operator `index`. */
export function outputBytes(graph: TrainingGraph, index: number): number {
  return tensorBytes(graph, graph.operators[index]?.dims ?? [0]);
}

/** Bytes of the parameters of an operator. */
export function parameterBytes(graph: TrainingGraph, operator: Operator): number {
  return operator.parameters.reduce((sum, { dims }) => sum + tensorBytes(graph, dims), 0);
}

/** Bytes of all network inputs. */
export function inputBytes(graph: TrainingGraph): number {
  return graph.inputs.reduce((sum, { dims, type }) => sum + elements(dims) * elementBytes[type], 0);
}
