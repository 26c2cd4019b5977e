/**
 * Linear and mixed-integer programs: the model, what is asked of a solver and what it answers. HiGHS runs in a worker
 * (highs-solver.ts) and is loaded when first used; CBC, where it is installed, runs as a program (cbc-solver.ts). Both
 * pass solver.conformance.ts. Nothing here knows what a program is about, and none promises the same solution where
 * several are optimal.
 */

/**
 * minimize cost·x + offset, subject to rowLower ≤ A x ≤ rowUpper and columnLower ≤ x ≤ columnUpper. A is sparse, row
 * after row: entries starts[r] … starts[r + 1] - 1 of `indices` (columns, none twice) and `values`. A missing bound is an
 * infinity. Columns with integral[c] = 1 take whole numbers.
 */
export interface LinearProgram {
  readonly columns: number;
  readonly rows: number;
  readonly cost: Float64Array;
  readonly offset: number;
  readonly columnLower: Float64Array;
  readonly columnUpper: Float64Array;
  readonly rowLower: Float64Array;
  readonly rowUpper: Float64Array;
  readonly starts: Int32Array;
  readonly indices: Int32Array;
  readonly values: Float64Array;
  readonly integral: Uint8Array;
}

/** What a solver has found so far; of programs with whole numbers only. */
export interface SolveProgress {
  readonly seconds: number;
  /** Objective of the best solution so far; Infinity before the first. */
  readonly incumbent: number;
  /** No solution is below it; -Infinity before the first bound. */
  readonly bound: number;
  /** The solution itself, when it is new. */
  readonly solution?: Float64Array;
}

/** How a program is solved. */
export interface SolveOptions {
  readonly signal?: AbortSignal;
  /** Wall seconds, best effort: what is found by then is returned. A limit makes results depend on the machine. */
  readonly timeLimitSeconds?: number;
  /** Branch-and-bound nodes at most: a limit that gives the same result on every machine. */
  readonly maxNodes?: number;
  /** (incumbent - bound) / |incumbent| that is good enough (default 0: proven optimal). */
  readonly relativeGap?: number;
  /** Leaves out the whole-number conditions: the relaxation, with duals. */
  readonly relaxed?: boolean;
  /** Values of columns to start from, NaN where unknown; a start that cannot be completed is ignored. */
  readonly start?: Float64Array;
  /** Of LPs; HiGHS alone (default: simplex). */
  readonly method?: "simplex" | "ipm";
  readonly seed?: number;
  readonly onProgress?: (progress: SolveProgress) => void;
}

/**
 * How a solve ended. `limit`: a time or node limit was reached, with or without a solution; `aborted`: the signal was;
 * `unbounded` includes programs of which the solver only knows that they have no optimum.
 */
export type SolveStatus = "optimal" | "infeasible" | "unbounded" | "limit" | "aborted" | "failed";

/** What came of a solve. */
export interface SolveResult {
  readonly status: SolveStatus;
  /** Of `solution`; Infinity when there is none. */
  readonly objective: number;
  /** No solution is below it; -Infinity when nothing is proven. */
  readonly bound: number;
  /** Column values, null when none was found. */
  readonly solution: Float64Array | null;
  /** Rows' duals of an optimal LP: change of the objective per unit of the active bound. Null for MILPs. */
  readonly rowDuals: Float64Array | null;
  /** Columns' reduced costs of an optimal LP. */
  readonly columnDuals: Float64Array | null;
  readonly nodes: number;
  readonly seconds: number;
}

/**
 * Something that solves programs, one at a time; further calls wait. An impossible program is a result, not an error.
 * Rejects with MillraceError ENVIRONMENT_MISSING when the solver cannot be loaded or started.
 */
export interface LinearSolver extends AsyncDisposable {
  readonly name: string;
  solve(program: LinearProgram, options?: SolveOptions): Promise<SolveResult>;
}
