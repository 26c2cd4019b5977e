/** From plan.yaml as parsed to the question the search answers. */
import { MillraceError } from "@millrace/core";
import type { WorkloadSpec } from "@millrace/serving";
import type { z } from "zod";
import type { CurrentDeployment, PlanSpace, PlanSpec, SchedulerChoice } from "../search/spec.ts";
import type { DeviceSpec, KvConfig } from "../types.ts";
import { bytesOfPrecision, type deviceRef, type precision } from "./hardware.ts";
import { resolveKv } from "./kv.ts";
import {
  atKey,
  type KeyPath,
  namesOf,
  type ResolveContext,
  resolveOverheads,
  resolvePredictor,
} from "./lookup.ts";
import type { PlanInput, schedulerEntry } from "./plan.ts";
import {
  chunkedSchedulers,
  resolveScheduler,
  type SchedulerInput,
  type SchedulerSetting,
} from "./scheduler.ts";
import { resolveFluidity, resolveSlo, tailLimit } from "./slo.ts";

/** Error of predictors that say nothing of their own, percent. */
const PREDICTOR_ERROR_PERCENT = 10;

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

/** Looks names up and fills defaults; `workload` is what plan.yaml or the command line named. Throws MODEL_UNKNOWN, DEVICE_UNKNOWN, CONFIG_INVALID. */
export function resolvePlan(
  input: PlanInput,
  workload: WorkloadSpec,
  context: ResolveContext,
): PlanSpec {
  const names = namesOf(input, context);
  const model = names.model(input.model, ["model"]);
  const devices = new Map<string, DeviceSpec>();
  const use = (ref: z.output<typeof deviceRef>, path: KeyPath): string => {
    const spec = names.device(ref, path);
    devices.set(spec.name, spec);
    return spec.name;
  };
  const { fleet, current } = input;
  const chosen = input.space.devices ?? defaultSpace.devices;
  const slo = resolveSlo(input.slo);
  const setting = {
    compatibility: input.compatibility,
    longestRequest: context.longestRequest,
    maxContext: model.maxContext,
    tbtLimit: tailLimit(slo, "tbt"),
  };
  const fleetDevices =
    fleet === undefined
      ? null
      : { device: use(fleet.device, ["fleet", "device"]), gpus: fleet.gpus };
  const spaceDevices =
    fleetDevices === null
      ? chosen.map((ref, index) => use(ref, ["space", "devices", index]))
      : [fleetDevices.device];
  return {
    model,
    load: input.load ?? null,
    workload,
    slo,
    fluidity: resolveFluidity(input.fluidity, slo),
    space: resolveSpace(input.space, spaceDevices, setting, context),
    fleet: fleetDevices,
    current:
      current === undefined
        ? null
        : resolveCurrent(current, use(current.device, ["current", "device"]), setting),
    devices: [...devices.values()],
    screening: input.search.screening,
    confirmation: input.search.confirmation,
    resolution: input.search.resolution,
    predictorErrorPercent:
      input.search.predictorErrorPercent ??
      context.predictorErrorPercent?.(input.predictor) ??
      PREDICTOR_ERROR_PERCENT,
    predictor: resolvePredictor(input.predictor, context),
    overheads: resolveOverheads(input.overheads, input.compatibility),
    compatibility: input.compatibility,
    seed: input.seed,
  };
}

function resolveSpace(
  space: PlanInput["space"],
  devices: readonly string[],
  setting: SchedulerSetting,
  context: ResolveContext,
): PlanSpace {
  const kvNames = space.kv ?? defaultSpace.kv;
  const types = new Set<string>();
  const schedulers = (space.schedulers ?? defaultSpace.schedulers).map((choice, index) => {
    const own: z.output<typeof schedulerEntry> =
      typeof choice === "string" ? { type: choice } : choice;
    return atKey(context, ["space", "schedulers", index], () => {
      if (types.has(own.type))
        throw new MillraceError("CONFIG_INVALID", `${own.type} is listed twice`, {
          hint: "list its chunkSizes and batchSizeCaps in one entry",
        });
      types.add(own.type);
      const { chunkSizes, batchSizeCaps, ...knobs } = own;
      return resolveChoice(
        knobs,
        chunkSizes ?? space.chunkSizes ?? defaultSpace.chunkSizes,
        batchSizeCaps ?? space.batchSizeCaps ?? defaultSpace.batchSizeCaps,
        kvNames,
        setting,
      );
    });
  });
  return {
    devices: [...new Set(devices)],
    tensorParallel: distinct(space.tensorParallel ?? defaultSpace.tensorParallel),
    pipelineParallel: distinct(space.pipelineParallel ?? defaultSpace.pipelineParallel),
    schedulers,
    precision: (space.precision ?? [{ weights: "fp16", kv: "fp16" } as const]).map(bytesOf),
  };
}

function resolveChoice(
  knobs: SchedulerInput,
  chunkSizes: readonly number[],
  batchSizeCaps: readonly number[],
  kvNames: readonly KvConfig["type"][],
  setting: SchedulerSetting,
): SchedulerChoice {
  const template = resolveScheduler(knobs, setting);
  const managers = kvNames.map((type) => resolveKv({ type }, template, setting.compatibility));
  return {
    template,
    chunkSizes: chunkedSchedulers.includes(template.type)
      ? distinct(chunkSizes)
      : [template.chunkSize],
    batchSizeCaps: distinct(batchSizeCaps),
    kv: managers.filter((kv, i) => managers.findIndex((other) => other.type === kv.type) === i),
  };
}

function resolveCurrent(
  current: NonNullable<PlanInput["current"]>,
  device: string,
  setting: SchedulerSetting,
): CurrentDeployment {
  const scheduler = resolveScheduler(current.scheduler, setting);
  const kv = resolveKv(current.kv, scheduler, setting.compatibility);
  const config = {
    device,
    tensorParallel: current.tensorParallel,
    pipelineParallel: current.pipelineParallel,
    scheduler: scheduler.type,
    chunkSize: scheduler.chunkSize,
    batchSizeCap: scheduler.batchSizeCap,
    kv: kv.type,
    ...bytesOf(current.precision),
  };
  return { config, scheduler, kv, replicas: current.replicas ?? null };
}

function bytesOf(p: z.output<typeof precision>): { weightBytes: number; kvBytes: number } {
  return { weightBytes: bytesOfPrecision[p.weights], kvBytes: bytesOfPrecision[p.kv] };
}

function distinct(values: readonly number[]): readonly number[] {
  return [...new Set(values)];
}
