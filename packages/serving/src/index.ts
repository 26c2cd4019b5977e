export * from "./join/contracts.ts";
export * from "./join/seq-table.ts";
export * from "./join/step-plan.ts";
export type { RequestTable } from "./workload/request-table.ts";
