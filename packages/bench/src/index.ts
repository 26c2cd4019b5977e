export type * from "./contracts.ts";
export { RUN_SCHEMA } from "./contracts.ts";
export * from "./load/schedule.ts";
export * from "./score/score-file.ts";
export { type ErrorClassInfo, errorClasses } from "./transport/error-class.ts";
export { reconcile, type TokenCounts } from "./transport/reconcile.ts";
