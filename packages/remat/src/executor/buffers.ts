/** What a step's memory holds: buffers with the events they are needed at, and what of them stays through the step. */
import type { TrainingGraph } from "../graph/graph.ts";
import { kindOf, operatorShape } from "./shapes.ts";

/** What a buffer holds; reports group by it. */
export type BufferKind =
  | "parameter"
  | "optimizer"
  | "statistic"
  | "input"
  | "constant"
  | "activation"
  | "auxiliary"
  | "gradient"
  | "parameter-gradient"
  | "workspace";

/** Kinds that stay through the step. */
export const residentKinds: ReadonlySet<BufferKind> = new Set([
  "parameter",
  "optimizer",
  "statistic",
  "input",
  "constant",
]);

/** A buffer and the events it is needed at, both ends included. */
export interface Buffer {
  readonly name: string;
  readonly kind: BufferKind;
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
}

/** Where one parameter lies. */
export interface ParameterBuffers {
  readonly name: string;
  /** Outermost first. */
  readonly dims: readonly number[];
  readonly value: number;
  readonly gradient: number;
  /** Optimizer state: tensors of the parameter's shape. */
  readonly state: readonly number[];
}

/** Where an operator's means and variances lie: `channels` means, then as many variances. */
export interface StatisticBuffers {
  readonly operator: number;
  readonly name: string;
  readonly channels: number;
  /** Elements that a mean is taken of. */
  readonly elements: number;
  /** Those of the batch; every forward pass of the operator writes them. */
  readonly batch: number;
  /** Those of the training so far. */
  readonly running: number;
}

/** Numbers that kernels read and nobody writes. */
export interface Constant {
  readonly buffer: number;
  readonly values: Int32Array;
}

/** Bytes of the optimizer's settings, seven numbers of f32. */
export const settingsBytes = 28;

/** Constants of a graph's operators by content. */
export function constantsOf(graph: TrainingGraph): Map<string, Int32Array> {
  const all = new Map<string, Int32Array>();
  graph.operators.forEach((_, j) => {
    const lists = kindOf(graph, j).constants?.(operatorShape(graph, j)).values() ?? [];
    for (const values of lists) all.set(values.join(), values);
  });
  return all;
}

/** Bytes of an operator's means and variances, of the batch or of the training. */
export const statisticBytes = (channels: number): number => 8 * channels;

/** Bytes resident throughout a step beside parameters, optimizer state and network inputs. */
export function constantBytes(graph: TrainingGraph): number {
  let bytes = settingsBytes;
  for (const values of constantsOf(graph).values()) bytes += values.byteLength;
  graph.operators.forEach((_, j) => {
    bytes += 2 * statisticBytes(kindOf(graph, j).statistics?.(operatorShape(graph, j)) ?? 0);
  });
  return bytes;
}
