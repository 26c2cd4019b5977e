/**
 * The training loop's join: who delivers batches, who computes steps, and who grants resources. Interfaces only, each
 * with a small real implementation that tests stand on (fixtures.ts) and one suite that every implementation passes
 * (batch-source.conformance.ts, trainable.conformance.ts). Pure; the lease's socket lives in @millrace/core/node.
 */
export type * from "./batch-source.ts";
export * from "./fixtures.ts";
export * from "./lease.ts";
export * from "./lease-messages.ts";
export type * from "./trainable.ts";
