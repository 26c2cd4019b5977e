/** From run.yaml as parsed to a deployment that can be simulated. */
import { MillraceError } from "@millrace/core";
import type { ModelSpec, SimulationConfig } from "../types.ts";
import { bytesOfPrecision } from "./hardware.ts";
import { idleKvKeys, resolveKv } from "./kv.ts";
import {
  atKey,
  namesOf,
  type ResolveContext,
  resolveOverheads,
  resolvePredictor,
} from "./lookup.ts";
import type { RunInput } from "./run.ts";
import { idleKnobs, resolveScheduler } from "./scheduler.ts";
import { resolveFluidity, resolveSlo, tailLimit } from "./slo.ts";

/** Looks names up and fills defaults. Throws MODEL_UNKNOWN, DEVICE_UNKNOWN and CONFIG_INVALID, with the place of the key. */
export function resolveSimulation(input: RunInput, context: ResolveContext): SimulationConfig {
  const names = namesOf(input, context);
  const model = names.model(input.model, ["model"]);
  const device = names.device(input.device, ["device"]);
  atKey(context, ["tensorParallel"], () => checkTensorParallel(model, input.tensorParallel));
  atKey(context, ["pipelineParallel"], () => checkPipelineParallel(model, input.pipelineParallel));
  const slo = resolveSlo(input.slo);
  const scheduler = resolveScheduler(input.scheduler, {
    compatibility: input.compatibility,
    longestRequest: context.longestRequest,
    maxContext: model.maxContext,
    tbtLimit: tailLimit(slo, "tbt"),
  });
  return {
    model,
    device,
    tensorParallel: input.tensorParallel,
    pipelineParallel: input.pipelineParallel,
    replicas: input.replicas,
    weightBytes: bytesOfPrecision[input.precision.weights],
    kvBytes: bytesOfPrecision[input.precision.kv],
    scheduler,
    kv: atKey(context, ["kv"], () => resolveKv(input.kv, scheduler, input.compatibility)),
    predictor: resolvePredictor(input.predictor, context),
    overheads: resolveOverheads(input.overheads, input.compatibility),
    routing: input.routing,
    slo,
    fluidity: resolveFluidity(input.fluidity, slo),
    compatibility: input.compatibility,
    seed: input.seed,
  };
}

/** Something in the file that has no effect. */
export interface ConfigWarning {
  readonly key: string;
  readonly message: string;
}

/** What the file says that the run does not use. */
export function runWarnings(input: RunInput): readonly ConfigWarning[] {
  const type = input.scheduler.type;
  const scheduler = idleKnobs(input.scheduler).map((knob) => ({
    key: `scheduler.${knob}`,
    message: `${type} has no ${knob}; it is ignored`,
  }));
  const kv = idleKvKeys(input.kv, type, input.compatibility).map((key) => ({
    key: `kv.${key}`,
    message: `does nothing for this kv.type; it is ignored`,
  }));
  return [...scheduler, ...kv];
}

/** Why a model cannot be split over this many devices, or null. */
export function tensorParallelProblem(model: ModelSpec, devices: number): string | null {
  return model.heads % devices === 0
    ? null
    : `${model.heads} heads of ${model.name} cannot be split over ${devices} devices`;
}

/** Why a model cannot be cut into this many stages, or null. */
export function pipelineParallelProblem(model: ModelSpec, stages: number): string | null {
  return model.layers % stages === 0
    ? null
    : `${model.layers} layers of ${model.name} cannot be cut into ${stages} equal stages`;
}

function checkTensorParallel(model: ModelSpec, devices: number): void {
  const problem = tensorParallelProblem(model, devices);
  if (problem !== null)
    throw new MillraceError("CONFIG_INVALID", problem, {
      hint: `take a divisor of ${model.heads}`,
    });
}

function checkPipelineParallel(model: ModelSpec, stages: number): void {
  const problem = pipelineParallelProblem(model, stages);
  if (problem !== null)
    throw new MillraceError("CONFIG_INVALID", problem, {
      hint: `take a divisor of ${model.layers}`,
    });
}
