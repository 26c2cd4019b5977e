/**
 * Workloads: what arrives, when, and how long it is. A workload is data first: a table of requests, made from a seed or
 * read from a trace, that the simulator and the load generator replay alike.
 */

/** Requests in order of arrival, as a struct of arrays. */
export interface RequestTable {
  readonly count: number;
  /** Seconds from the start of the run, ascending. */
  readonly arrivedAt: Float64Array;
  /** Prompt tokens, >= 1. */
  readonly promptTokens: Int32Array;
  /** Output tokens the request really produces, >= 1. Known to back ends alone. */
  readonly outputTokens: Int32Array;
  /** Index into `classes`. */
  readonly classIndex: Uint8Array;
  /** Names and priorities (lower is more urgent) of the traffic classes. */
  readonly classes: readonly { readonly name: string; readonly priority: number }[];
  /** Ids as the trace gave them, or null for 0 … count-1. */
  readonly ids: readonly string[] | null;
}
