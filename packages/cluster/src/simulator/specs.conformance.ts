/** Runs and jobs that the tests of the simulator share. */
import type { SpeedProfile } from "../profile/speed-profile.ts";
import type { TraceJob } from "../trace/job-trace.ts";
import { idealTerms, type JobTerms, jobSpecs, type Model, uniformServers } from "./from-trace.ts";
import type { SimulationSpec } from "./simulate.ts";

const curve = (name: string, rate: readonly number[]): SpeedProfile => ({
  name,
  cpus: [1, 3, 6, 12],
  hostBytes: [20e9],
  rate: rate.map((r) => [r]),
});
/** A job that speed does not depend on, and one that lives by its CPUs. */
export const models = new Map<string, Model>([
  ["flat", { profile: curve("flat", [1, 1, 1, 1]), iterationSeconds: 1 }],
  ["hungry", { profile: curve("hungry", [0.4, 1, 2, 4]), iterationSeconds: 1 }],
]);

/** A run of a trace on servers of 8 GPUs, 24 CPUs and 500 GB, first come, first served. */
export function specOf(
  trace: readonly TraceJob[],
  over: Partial<SimulationSpec> = {},
  terms: Partial<JobTerms> = {},
  count = 1,
): SimulationSpec {
  const servers = uniformServers(count, 8, 24, 500e9);
  const { jobs } = jobSpecs(trace, models, servers, { ...idealTerms, ...terms });
  return {
    jobs,
    servers,
    tenants: [],
    policy: "fifo",
    roundSeconds: 300,
    decisions: "rounds",
    starvationSeconds: 1e9,
    serverEvents: [],
    ...over,
  };
}

/** A job of a trace. */
export const job = (
  id: number,
  model: string,
  arrivalSeconds: number,
  iterations: number,
  gpus = 1,
): TraceJob => ({
  id,
  model,
  arrivalSeconds,
  iterations,
  gpus,
});
