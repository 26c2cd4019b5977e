/** What the HiGHS worker and its owner say to each other. */
import type { LinearProgram, SolveProgress, SolveResult } from "./linear-program.ts";

/** A program to solve. `stop[0]` becomes 1 when the owner wants it to end. */
export interface SolveRequest {
  readonly program: LinearProgram;
  readonly stop: Int32Array;
  readonly timeLimitSeconds: number | null;
  readonly maxNodes: number | null;
  readonly relativeGap: number;
  readonly relaxed: boolean;
  readonly start: Float64Array | null;
  readonly method: "simplex" | "ipm";
  readonly seed: number;
  readonly progress: boolean;
}

/** What the worker answers. */
export type WorkerReply =
  | { readonly kind: "progress"; readonly progress: SolveProgress }
  | { readonly kind: "result"; readonly result: SolveResult }
  | { readonly kind: "broken"; readonly error: string };
