/**
 * The borders inside bench: what a run is made of (Schedule), where it goes (Endpoint), what comes back (RequestRecord,
 * RunEnd). Load, transport and mock make these; metrics, scores, reports and searches read them and nothing else.
 * Times named …Us are whole microseconds from the start of the run, on the monotonic clock; -1 = did not happen.
 */
export * from "./contracts/attribution.ts";
export type * from "./contracts/health.ts";
export type * from "./contracts/latency.ts";
export type * from "./contracts/load.ts";
export * from "./contracts/record.ts";
export * from "./contracts/report.ts";
export type * from "./contracts/run.ts";
export type * from "./contracts/server-state.ts";
