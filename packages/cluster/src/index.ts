/**
 * Sharing GPU servers by what training jobs really need (Synergy, OSDI 2022): profiles, policies, allocators and
 * placement as pure functions, a simulator over them, and the published simulator to the second.
 */
export { opt } from "./allocator/opt/opt.ts";
export * from "./allocator/registry.ts";
export * from "./changes.ts";
export type { CompatPolicy } from "./compatibility/order.ts";
export type { CompatPlacement } from "./compatibility/servers.ts";
export * from "./compatibility/simulate.ts";
export * from "./contracts.ts";
export * from "./decide.ts";
export type { PlacementMode } from "./placement/fit.ts";
export * from "./plan-check.ts";
export { orderJobs } from "./policy/order.ts";
export { type PolicyName, policyNames } from "./policy/policy.ts";
export { starved } from "./policy/starvation.ts";
export * from "./profile/from-job-profile.ts";
export * from "./profile/online.ts";
export * from "./profile/options.ts";
export * from "./profile/published.ts";
export { publishedMix } from "./profile/published-mix.ts";
export { publishedModels } from "./profile/published-models.ts";
export { type RefillTerms, refillOf } from "./profile/refill.ts";
export * from "./profile/refine.ts";
export * from "./profile/share.ts";
export * from "./profile/speed-profile.ts";
export * from "./simulator/experiment.ts";
export * from "./simulator/from-trace.ts";
export * from "./simulator/metrics.ts";
export type { JobSpec } from "./simulator/sim-job.ts";
export * from "./simulator/simulate.ts";
export type { Segment, Timeline, UsageSample } from "./simulator/timeline.ts";
export * from "./trace/generate.ts";
export * from "./trace/job-trace.ts";
