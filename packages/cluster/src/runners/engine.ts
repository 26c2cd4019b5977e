/** Which engine a cluster's jobs are in, as plain data: the journal keeps it, so that whoever comes later finds the same one. */
import type { BoundKind } from "./local/bounds.ts";
import type { LocalServer } from "./local/local-runner.ts";

/** What a runner is opened with, beside its folder. */
export type EngineTerms =
  | {
      readonly on: "local";
      /** Name of the machine: over a network's file system another one may read this. */
      readonly host: string;
      readonly cluster: string;
      readonly servers: readonly LocalServer[];
      readonly bound: BoundKind;
    }
  | {
      readonly on: "slurm";
      readonly cluster: string;
      readonly partition: string | null;
      readonly conf: string | null;
    }
  | {
      readonly on: "kubernetes";
      readonly cluster: string;
      readonly namespace: string;
      /** Address of the API server. */
      readonly server: string;
      readonly lostSeconds: number;
    };

/** The place where an engine keeps jobs, in words; equal for two engines exactly when they keep the same jobs. */
export function placeOf(engine: EngineTerms): string {
  if (engine.on === "local") return `the machine ${engine.host}`;
  if (engine.on === "slurm")
    return engine.conf === null ? "Slurm" : `Slurm (SLURM_CONF=${engine.conf})`;
  return `Kubernetes (namespace ${engine.namespace} of ${engine.server})`;
}
