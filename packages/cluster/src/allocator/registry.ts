/** The allocators by name. */
import type { Allocator } from "../contracts.ts";
import type { PlacementMode } from "../placement/fit.ts";
import { greedy, proportional } from "./baseline.ts";
import { pooled } from "./pooled.ts";
import { tune } from "./tune.ts";
import { waterfill } from "./waterfill/waterfill.ts";

/** Allocators that decide at once; opt, which asks a solver, is in opt.ts. */
export const allocators = {
  proportional: (mode) => proportional(mode),
  greedy: (mode) => greedy(mode),
  tune: (mode) => tune(mode),
  "tune-afresh": (mode) => tune(mode, { costs: false }),
  waterfill: () => waterfill(),
  pooled: () => pooled,
} as const satisfies Record<string, (mode: PlacementMode) => Allocator>;

export type SyncAllocatorName = keyof typeof allocators;

/** All allocator names, opt included. */
export type AllocatorName = SyncAllocatorName | "opt";

export const allocatorNames: readonly AllocatorName[] = [
  "proportional",
  "greedy",
  "tune",
  "tune-afresh",
  "waterfill",
  "opt",
  "pooled",
];
