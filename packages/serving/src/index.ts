export * from "./join/contracts.ts";
export * from "./join/seq-table.ts";
export * from "./join/step-plan.ts";
export * from "./metrics/fluidity.ts";
export * from "./metrics/recorder.ts";
export * from "./metrics/request-metrics.ts";
export * from "./metrics/summary.ts";
export type { RequestTable } from "./workload/request-table.ts";
