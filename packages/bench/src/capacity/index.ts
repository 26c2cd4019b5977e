/** The capacity of an endpoint: the search, its probes, the report. */
export * from "./curve.ts";
export * from "./drive.ts";
export * from "./live-probe.ts";
export * from "./prediction.ts";
export * from "./report.ts";
export * from "./search.ts";
export * from "./search-live.ts";
export { type CapacityGoal, judgeProbe, type ProbeJudgement } from "./verdict.ts";
