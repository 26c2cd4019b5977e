/** One run as plain data: a cluster, a policy, an allocator, the costs. What commands, benches and reproductions share. */
import { Rng } from "@millrace/core";
import { HighsSolver } from "@millrace/core/solver";
import { opt } from "../allocator/opt/opt.ts";
import { type AllocatorName, allocators } from "../allocator/registry.ts";
import type { Tenant } from "../contracts.ts";
import type { PlacementMode } from "../placement/fit.ts";
import type { PolicyName } from "../policy/policy.ts";
import type { TraceJob } from "../trace/job-trace.ts";
import { type JobTerms, jobSpecs, type Model, uniformServers } from "./from-trace.ts";
import { completionTimes, type RunSummary, summarizeRun } from "./metrics.ts";
import type { JobSpec } from "./sim-job.ts";
import {
  type ServerEvent,
  type SimulationHooks,
  type SimulationResult,
  type SimulationSpec,
  simulate,
  simulateLater,
} from "./simulate.ts";

/** Equal servers. */
export interface ClusterShape {
  readonly servers: number;
  readonly gpus: number;
  readonly cpus: number;
  readonly hostBytes: number;
  /** NUMA nodes of a server (default 1). */
  readonly numaNodes?: number;
}

/** The cluster of the published experiments: 16 servers of 8 GPUs, 24 cores and 500 GB. */
export const synergyCluster: ClusterShape = { servers: 16, gpus: 8, cpus: 24, hostBytes: 500e9 };

/** A run without its jobs. */
export interface Experiment {
  readonly cluster: ClusterShape;
  readonly policy: PolicyName;
  readonly allocator: AllocatorName;
  readonly placement: PlacementMode;
  readonly roundSeconds: number;
  readonly decisions: SimulationSpec["decisions"];
  readonly starvationSeconds: number;
  readonly restartSeconds: number;
  readonly refillSeconds: number;
  readonly resize: JobSpec["resize"];
  readonly spanFactor: number;
  /** Standard deviation of real over believed gain, relative; 0 for true profiles. */
  readonly profileError: number;
  /** Believed curves are refined while jobs run. */
  readonly refine: boolean;
  readonly seed: number;
  readonly tenants: readonly Tenant[];
  readonly serverEvents: readonly ServerEvent[];
}

/** The published setting: no costs, true profiles, rounds of 300 s. */
export const plainExperiment: Experiment = {
  cluster: synergyCluster,
  policy: "fifo",
  allocator: "waterfill",
  placement: "consolidate",
  roundSeconds: 300,
  decisions: "rounds",
  starvationSeconds: 1000 * 3600,
  restartSeconds: 0,
  refillSeconds: 0,
  resize: "restart",
  spanFactor: 1,
  profileError: 0,
  refine: false,
  seed: 1,
  tenants: [],
  serverEvents: [],
};

/** What came of a run. */
export interface Outcome {
  readonly jobs: readonly JobSpec[];
  readonly rejected: readonly { readonly id: number; readonly reason: string }[];
  readonly result: SimulationResult;
  /** Seconds, in the order of `jobs`. */
  readonly jct: Float64Array;
  readonly summary: RunSummary;
}

/** Runs an experiment; `opt` starts a solver and ends it. */
export async function runExperiment(
  trace: readonly TraceJob[],
  models: ReadonlyMap<string, Model>,
  experiment: Experiment,
  hooks: SimulationHooks = {},
): Promise<Outcome> {
  const { cluster } = experiment;
  const { gpus, cpus, hostBytes, numaNodes } = cluster;
  const servers = uniformServers(cluster.servers, gpus, cpus, hostBytes, numaNodes);
  const { jobs, rejected } = jobSpecs(trace, models, servers, termsOf(experiment, trace.length));
  const spec: SimulationSpec = { ...experiment, jobs, servers };
  const result = await runSpec(spec, experiment, hooks);
  const jct = completionTimes(jobs, result.finish);
  return { jobs, rejected, result, jct, summary: summarizeRun(jobs, result) };
}

async function runSpec(
  spec: SimulationSpec,
  { allocator, placement }: Experiment,
  hooks: SimulationHooks,
): Promise<SimulationResult> {
  if (allocator !== "opt") return simulate(spec, allocators[allocator](placement), hooks);
  await using solver = new HighsSolver();
  return await simulateLater(spec, opt(solver), hooks);
}

function termsOf(experiment: Experiment, rows: number): JobTerms {
  const { profileError, seed } = experiment;
  const rng = new Rng(seed).fork("profile error");
  const factors = Float64Array.from({ length: rows }, () =>
    profileError === 0 ? 1 : Math.max(0, rng.normal(1, profileError)),
  );
  return {
    restartSeconds: experiment.restartSeconds,
    refillSeconds: experiment.refillSeconds,
    resize: experiment.resize,
    preemptible: true,
    spanFactor: experiment.spanFactor,
    gainFactor: (row) => factors[row] as number,
    tenant: "all",
  };
}
