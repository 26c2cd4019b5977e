/** What executes plans on real machines; loads the system package. Kubernetes is a subpath of its own. */

export { type EngineTerms, placeOf } from "./engine.ts";
export { type BoundKind, offeredBounds, presentGpus } from "./local/bounds.ts";
export * from "./local/local-runner.ts";
export type * from "./runner.ts";
export * from "./slurm/slurm-runner.ts";
