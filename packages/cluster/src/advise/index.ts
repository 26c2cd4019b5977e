/** Right sizes from accounting and monitoring: `millrace cluster advise`. Read-only. */
export * from "./advise.ts";
export * from "./kind.ts";
export { prometheusQuery } from "./prometheus.ts";
export * from "./read.ts";
export * from "./replay.ts";
export { sacctCommand } from "./sacct.ts";
export * from "./size.ts";
export * from "./use.ts";
