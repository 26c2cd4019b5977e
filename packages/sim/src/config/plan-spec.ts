/** The question of `millrace plan` as plain data, names looked up and defaults filled; and the step from a candidate to a deployment. */
import { invariant } from "@millrace/core";
import type { WorkloadSpec } from "@millrace/serving";
import type {
  Candidate,
  DeviceSpec,
  ModelSpec,
  PredictorConfig,
  SchedulerType,
  SimulationConfig,
  SloTerm,
} from "../types.ts";
import { resolveKv } from "./kv.ts";
import { chunkedSchedulers, resolveScheduler } from "./scheduler.ts";
import { tailLimit } from "./slo.ts";

/** The axes of the space; `candidatesOf` walks them. */
export interface PlanSpace {
  readonly devices: readonly string[];
  readonly tensorParallel: readonly number[];
  readonly pipelineParallel: readonly number[];
  readonly schedulers: readonly {
    readonly type: SchedulerType;
    /** One entry that says nothing for types without chunks. */
    readonly chunkSizes: readonly number[];
    readonly batchSizeCaps: readonly number[];
  }[];
  readonly kv: readonly SimulationConfig["kv"]["type"][];
  /** Bytes per element. */
  readonly precision: readonly { readonly weightBytes: number; readonly kvBytes: number }[];
}

/** Made from plan.yaml by `resolvePlan`. */
export interface PlanSpec {
  readonly model: ModelSpec;
  /** Every device that a candidate names, by name, with the prices that apply. */
  readonly devices: ReadonlyMap<string, DeviceSpec>;
  /** null when a fleet is given and the question is how much it carries. */
  readonly load: {
    readonly qps: number;
    readonly peakFactor: number;
    readonly spareReplicas: number;
  } | null;
  /** What requests look like; the search sets the rate. */
  readonly workload: WorkloadSpec;
  readonly slo: readonly SloTerm[];
  readonly fluidity: SimulationConfig["fluidity"];
  readonly space: PlanSpace;
  readonly fleet: { readonly device: string; readonly gpus: number } | null;
  readonly current: { readonly config: Candidate; readonly replicas: number | null } | null;
  readonly screening: { readonly requests: number };
  readonly confirmation: {
    readonly requests: number;
    readonly seeds: number;
    readonly finalists: number;
  };
  /** Relative width at which the search for a capacity stops. */
  readonly resolution: number;
  readonly predictorErrorPercent: number;
  readonly predictor: PredictorConfig;
  readonly overheads: SimulationConfig["overheads"];
  readonly routing: SimulationConfig["routing"];
  readonly compatibility: SimulationConfig["compatibility"];
  /** Longest request of the workload in tokens; null when unknown. */
  readonly longestRequest: number | null;
  readonly seed: number;
}

/** All points of the space, in the order of its axes; the same point is listed once. */
export function candidatesOf(space: PlanSpace): readonly Candidate[] {
  const found = new Map<string, Candidate>();
  for (const device of space.devices)
    for (const tensorParallel of space.tensorParallel)
      for (const pipelineParallel of space.pipelineParallel)
        for (const { type, chunkSizes, batchSizeCaps } of space.schedulers)
          for (const chunkSize of chunkSizes)
            for (const batchSizeCap of batchSizeCaps)
              for (const kv of space.kv)
                for (const { weightBytes, kvBytes } of space.precision) {
                  const candidate: Candidate = {
                    device,
                    tensorParallel,
                    pipelineParallel,
                    scheduler: type,
                    chunkSize,
                    batchSizeCap,
                    kv,
                    weightBytes,
                    kvBytes,
                  };
                  found.set(JSON.stringify(candidate), candidate);
                }
  return [...found.values()];
}

/** The deployment of a candidate of this spec. Throws InvariantError for a device that the spec does not hold. */
export function deploymentOf(
  spec: PlanSpec,
  candidate: Candidate,
  replicas = 1,
  seed = spec.seed,
): SimulationConfig {
  const device = spec.devices.get(candidate.device);
  invariant(device !== undefined, `the plan has no device ${candidate.device}`);
  const chunks = chunkedSchedulers.includes(candidate.scheduler);
  const scheduler = resolveScheduler(
    {
      type: candidate.scheduler,
      batchSizeCap: candidate.batchSizeCap,
      ...(chunks ? { chunkSize: candidate.chunkSize } : {}),
    },
    {
      compatibility: spec.compatibility,
      longestRequest: spec.longestRequest,
      maxContext: spec.model.maxContext,
      tbtLimit: tailLimit(spec.slo, "tbt"),
    },
  );
  return {
    model: spec.model,
    device,
    tensorParallel: candidate.tensorParallel,
    pipelineParallel: candidate.pipelineParallel,
    replicas,
    weightBytes: candidate.weightBytes,
    kvBytes: candidate.kvBytes,
    scheduler,
    kv: resolveKv({ type: candidate.kv }, scheduler, spec.compatibility),
    predictor: spec.predictor,
    overheads: spec.overheads,
    routing: spec.routing,
    slo: spec.slo,
    fluidity: spec.fluidity,
    compatibility: spec.compatibility,
    seed,
  };
}
