/**
 * Real training under a plan, on ggml and own SIMD kernels: measured costs, one piece of memory with addresses assigned
 * beforehand, a process of its own, and proofs of memory and gradients. MONeT section 5 for the implementations.
 */

export type { BatchData } from "./batch.ts";
export { CheckpointFolder, type StepCheckpoint } from "./checkpoint-folder.ts";
export * from "./cost-file.ts";
export type { EvaluationReport } from "./evaluation.ts";
export type { MemoryReport, StepReport } from "./executor.ts";
export { refuseGguf } from "./export-gguf.ts";
export { type Optimizer, optimizers, stateCount } from "./optimizer.ts";
export { executorProblem } from "./problem.ts";
export type { OperatorSeconds } from "./process/protocol.ts";
export { type ProcessMemory, TrainerProcess } from "./process/trainer-process.ts";
export * from "./run.ts";
export * from "./synthetic-data.ts";
export * from "./table.ts";
export { GraphTrainable, type GraphTrainableOptions } from "./trainable.ts";
export type { GradientProof, MemoryProof } from "./verify.ts";
