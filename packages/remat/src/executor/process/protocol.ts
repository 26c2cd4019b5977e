/**
 * The trainer's process: ggml ends a process on bad operands, so whatever computes lives in a child. One call at a time,
 * each with one answer; values are structured clones over Node's IPC channel. Batches come by a pipe of their own, straight
 * into the step's memory: copies of them would stay on the child's heap.
 */
import type { ErrorCode } from "@millrace/core";
import type { TrainingGraph } from "../../graph/graph.ts";
import type { Plan } from "../../problem/plan.ts";
import type { EvaluationReport } from "../evaluation.ts";
import type { MemoryReport, StepReport } from "../executor.ts";
import type { Optimizer } from "../optimizer.ts";
import type { CostTable } from "../table.ts";
import type { GradientProof, MemoryProof } from "../verify.ts";

/** What is opened: the graph on a number of threads. */
export interface OpenRequest {
  readonly graph: TrainingGraph;
  readonly threads: number;
}

/** A plan to run, for the problem of the opened graph and the table. */
export interface LoadRequest {
  readonly table: CostTable;
  readonly plan: Plan;
  readonly optimizer: Optimizer;
  readonly seed: number;
}

/** Seconds of a step by operator and direction. */
export interface OperatorSeconds {
  readonly operator: number;
  readonly direction: "forward" | "backward";
  /** Calls of one step. */
  readonly calls: number;
  readonly seconds: number;
}

/** Calls: [argument, answer]. */
export interface Calls {
  open: [OpenRequest, undefined];
  measure: [{ readonly seconds: number; readonly known: CostTable | null }, CostTable];
  load: [LoadRequest, MemoryReport];
  initialise: [{ readonly seed: number }, undefined];
  step: [undefined, StepReport];
  evaluate: [undefined, EvaluationReport];
  profile: [undefined, readonly OperatorSeconds[]];
  proveMemory: [undefined, MemoryProof];
  proveGradients: [undefined, GradientProof];
  save: [{ readonly dir: string }, undefined];
  restore: [{ readonly dir: string }, { readonly step: number }];
  /** As GGUF (a decoder), or as safetensors where the path ends so. */
  export: [
    { readonly path: string; readonly type: "f32" | "f16" },
    { readonly path: string; readonly bytes: number },
  ];
}

export type CallName = keyof Calls;

/** Calls on a batch; its bytes are in the pipe when they come. */
export type BatchCallName = "step" | "evaluate" | "profile" | "proveMemory" | "proveGradients";

/** The child's end of the pipe. */
export const batchPipe = 4;

/** To the child. */
export interface ToTrainer {
  readonly key: number;
  readonly name: CallName;
  readonly argument: unknown;
}

/** An error as it crosses the border; without a code it is a bug. */
export interface PlainError {
  readonly code: ErrorCode | null;
  readonly message: string;
  readonly hint: string | null;
}

/** From the child. */
export type FromTrainer =
  | { readonly kind: "answer"; readonly key: number; readonly value: unknown }
  | { readonly kind: "failure"; readonly key: number; readonly error: PlainError }
  | {
      readonly kind: "progress";
      readonly done: number;
      readonly of: number;
      readonly what: string;
    };
