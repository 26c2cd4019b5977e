export * from "./cost/black-box.ts";
export type { ObservedStream } from "./cost/black-box-steps.ts";
export { type Lengths, shareBeyond } from "./cost/black-box-uncertainty.ts";
export * from "./cost/fit-error.ts";
export * from "./cost/jitter.ts";
export * from "./cost/loop-fit.ts";
export * from "./cost/non-negative.ts";
export * from "./cost/profile.ts";
export * from "./cost/profile-cost.ts";
export * from "./cost/residuals.ts";
export * from "./cost/scale-profile.ts";
export * from "./cost/step-speed.ts";
export * from "./cost/step-timings.ts";
export * from "./cost/step-work.ts";
export * from "./cost/transport-fit.ts";
export * from "./join/contracts.ts";
export * from "./join/decision-file.ts";
export * from "./join/decision-log.ts";
export * from "./join/plan-digest.ts";
export * from "./join/replica.ts";
export * from "./join/seq-table.ts";
export * from "./join/served-run.ts";
export * from "./join/step-plan.ts";
export * from "./kv/page-fit.ts";
export * from "./kv/page-groups.ts";
export * from "./kv/paged.ts";
export * from "./kv/prefix-index.ts";
export * from "./kv/prefix-keys.ts";
export * from "./kv/static.ts";
export * from "./kv/vattention.ts";
export * from "./kv/vattention-options.ts";
export * from "./metrics/etalon.ts";
export * from "./metrics/fluidity.ts";
export * from "./metrics/recorder.ts";
export * from "./metrics/request-metrics.ts";
export * from "./metrics/summary.ts";
export * from "./metrics/tbt-targets.ts";
export * from "./routing/router.ts";
export * from "./scheduler/index.ts";
export { Queues } from "./scheduler/queues.ts";
export * from "./workload/generate.ts";
export type { LengthDistribution } from "./workload/length-distribution.ts";
export { shapeByName } from "./workload/lengths.ts";
export type { RequestTable } from "./workload/request-table.ts";
export {
  distanceTo,
  fitShape,
  type RankCopula,
  type ShapeOrigin,
  type WorkloadShape,
} from "./workload/shape.ts";
export { builtInShapes } from "./workload/shapes/index.ts";
export type * from "./workload/spec.ts";
export * from "./workload/trace-csv.ts";
