/**
 * Sharing GPU servers by what training jobs really need (Synergy, OSDI 2022): profiles, policies, allocators and
 * placement as pure functions, a simulator over them, and the published simulator to the second.
 */

export type { CompatPolicy } from "./compatibility/order.ts";
export type { CompatPlacement } from "./compatibility/servers.ts";
export * from "./compatibility/simulate.ts";
export * from "./profile/published.ts";
export * from "./simulator/metrics.ts";
export * from "./trace/job-trace.ts";
