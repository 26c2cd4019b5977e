/** From plan.yaml as parsed to the question the search answers. */
import type { WorkloadSpec } from "@millrace/serving";
import type { z } from "zod";
import type { Candidate, DeviceSpec } from "../types.ts";
import { bytesOfPrecision, type deviceRef, type precision } from "./hardware.ts";
import { resolveKv } from "./kv.ts";
import { namesOf, type ResolveContext, resolveOverheads, resolvePredictor } from "./lookup.ts";
import type { PlanInput } from "./plan.ts";
import type { PlanSpace, PlanSpec } from "./plan-spec.ts";
import { chunkedSchedulers, resolveScheduler } from "./scheduler.ts";
import { resolveFluidity, resolveSlo, tailLimit } from "./slo.ts";

/** The space that is searched when plan.yaml does not say. */
export const defaultSpace = {
  devices: ["a100-80gb", "h100"],
  tensorParallel: [1, 2, 4, 8],
  pipelineParallel: [1, 2],
  schedulers: ["vllm-v1", "sarathi-serve"],
  chunkSizes: [512, 1024, 2048],
  batchSizeCaps: [128, 256],
  kv: ["paged"],
} as const;

/** Looks names up and fills defaults; `workload` is what plan.yaml or the command line named. Throws MODEL_UNKNOWN, DEVICE_UNKNOWN. */
export function resolvePlan(
  input: PlanInput,
  workload: WorkloadSpec,
  context: ResolveContext,
): PlanSpec {
  const names = namesOf(input, context);
  const model = names.model(input.model, ["model"]);
  const devices = new Map<string, DeviceSpec>();
  const use = (ref: z.output<typeof deviceRef>, path: readonly (string | number)[]): string => {
    const spec = names.device(ref, path);
    devices.set(spec.name, spec);
    return spec.name;
  };
  const fleet =
    input.fleet === undefined
      ? null
      : { device: use(input.fleet.device, ["fleet", "device"]), gpus: input.fleet.gpus };
  const chosen = input.space.devices ?? defaultSpace.devices;
  const spaceDevices =
    fleet === null
      ? chosen.map((ref, index) => use(ref, ["space", "devices", index]))
      : [fleet.device];
  const slo = resolveSlo(input.slo);
  const tbtLimit = tailLimit(slo, "tbt");
  const current = input.current;
  const setting = {
    compatibility: input.compatibility,
    longestRequest: context.longestRequest,
    maxContext: model.maxContext,
    tbtLimit,
  };
  return {
    model,
    devices,
    load: input.load ?? null,
    workload,
    slo,
    fluidity: resolveFluidity(input.fluidity, slo),
    space: resolveSpace(input.space, spaceDevices),
    fleet,
    current:
      current === undefined
        ? null
        : {
            config: currentCandidate(current, use(current.device, ["current", "device"]), setting),
            replicas: current.replicas ?? null,
          },
    screening: input.search.screening,
    confirmation: input.search.confirmation,
    resolution: input.search.resolution,
    predictorErrorPercent: input.search.predictorErrorPercent,
    predictor: resolvePredictor(input.predictor, context),
    overheads: resolveOverheads(input.overheads, input.compatibility),
    routing: input.routing,
    compatibility: input.compatibility,
    longestRequest: context.longestRequest,
    seed: input.seed,
  };
}

function resolveSpace(space: PlanInput["space"], devices: readonly string[]): PlanSpace {
  const chunkSizes = space.chunkSizes ?? defaultSpace.chunkSizes;
  const batchSizeCaps = space.batchSizeCaps ?? defaultSpace.batchSizeCaps;
  const schedulers = (space.schedulers ?? defaultSpace.schedulers).map((choice) => {
    const own = typeof choice === "string" ? { type: choice } : choice;
    const chunks = ("chunkSizes" in own ? own.chunkSizes : undefined) ?? chunkSizes;
    return {
      type: own.type,
      chunkSizes: chunkedSchedulers.includes(own.type) ? chunks : chunks.slice(0, 1),
      batchSizeCaps: ("batchSizeCaps" in own ? own.batchSizeCaps : undefined) ?? batchSizeCaps,
    };
  });
  return {
    devices: [...new Set(devices)],
    tensorParallel: space.tensorParallel ?? defaultSpace.tensorParallel,
    pipelineParallel: space.pipelineParallel ?? defaultSpace.pipelineParallel,
    schedulers,
    kv: space.kv ?? defaultSpace.kv,
    precision: (space.precision ?? [{ weights: "fp16", kv: "fp16" } as const]).map(bytesOf),
  };
}

function bytesOf(p: z.output<typeof precision>): { weightBytes: number; kvBytes: number } {
  return { weightBytes: bytesOfPrecision[p.weights], kvBytes: bytesOfPrecision[p.kv] };
}

function currentCandidate(
  current: NonNullable<PlanInput["current"]>,
  device: string,
  setting: Parameters<typeof resolveScheduler>[1],
): Candidate {
  const scheduler = resolveScheduler(current.scheduler, setting);
  return {
    device,
    tensorParallel: current.tensorParallel,
    pipelineParallel: current.pipelineParallel,
    scheduler: scheduler.type,
    chunkSize: scheduler.chunkSize,
    batchSizeCap: scheduler.batchSizeCap,
    kv: resolveKv(current.kv, scheduler, setting.compatibility).type,
    ...bytesOf(current.precision),
  };
}
