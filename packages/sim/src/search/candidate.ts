/** Candidates: their names, their keys, and the deployment that each stands for. */
import { invariant } from "@millrace/core";
import type {
  Candidate,
  DeviceSpec,
  KvConfig,
  SchedulerConfig,
  SimulationConfig,
} from "../types.ts";
import { chunkingSchedulers, type PlanSpec } from "./spec.ts";

/** The candidate in one line, as people read it: `4x h100 TP4 sarathi-serve chunk 512 batch 128`. Defaults are left out. */
export function candidateName(c: Candidate): string {
  const parts = [`${c.tensorParallel * c.pipelineParallel}x ${c.device}`, `TP${c.tensorParallel}`];
  if (c.pipelineParallel > 1) parts.push(`PP${c.pipelineParallel}`);
  parts.push(c.scheduler);
  if (chunkingSchedulers.includes(c.scheduler)) parts.push(`chunk ${c.chunkSize}`);
  parts.push(`batch ${c.batchSizeCap}`);
  if (c.kv !== "paged") parts.push(`${c.kv} KV`);
  if (c.weightBytes !== 2) parts.push(`${c.weightBytes * 8}-bit weights`);
  if (c.kvBytes !== 2) parts.push(`${c.kvBytes * 8}-bit KV`);
  return parts.join(" ");
}

/** Equal for equal candidates, and ordered like the axes for ties. */
export function candidateKey(c: Candidate): string {
  const pad = (n: number): string => String(n).padStart(6, "0");
  return [
    c.device,
    pad(c.tensorParallel),
    pad(c.pipelineParallel),
    pad(c.weightBytes),
    pad(c.kvBytes),
    c.kv,
    c.scheduler,
    pad(c.chunkSize),
    pad(c.batchSizeCap),
  ].join("/");
}

/** What candidates share that stand on the same hardware in the same split and precision; their predictor errs alike. */
export function hardwareKey(c: Candidate): string {
  return [c.device, c.tensorParallel, c.pipelineParallel, c.weightBytes, c.kvBytes].join("/");
}

/** Devices of one replica. */
export function devicesOf(c: Candidate): number {
  return c.tensorParallel * c.pipelineParallel;
}

export function deviceOf(spec: PlanSpec, name: string): DeviceSpec {
  const device = spec.devices.find((d) => d.name === name);
  invariant(device !== undefined, `the plan has no device ${name}`);
  return device;
}

/** One replica of the candidate. Scheduler and KV knobs that are not searched come from the space, or from `own`. */
export function deploymentOf(
  spec: PlanSpec,
  candidate: Candidate,
  own?: { readonly scheduler: SchedulerConfig; readonly kv: KvConfig },
): SimulationConfig {
  const choice = spec.space.schedulers.find((s) => s.template.type === candidate.scheduler);
  const template = own?.scheduler ?? choice?.template;
  const kv = own?.kv ?? choice?.kv.find((k) => k.type === candidate.kv);
  invariant(
    template !== undefined && kv !== undefined,
    `the space has no ${candidate.scheduler} with ${candidate.kv} KV`,
  );
  return {
    model: spec.model,
    device: deviceOf(spec, candidate.device),
    tensorParallel: candidate.tensorParallel,
    pipelineParallel: candidate.pipelineParallel,
    replicas: 1,
    weightBytes: candidate.weightBytes,
    kvBytes: candidate.kvBytes,
    scheduler: {
      ...template,
      chunkSize: candidate.chunkSize,
      batchSizeCap: candidate.batchSizeCap,
    },
    kv,
    predictor: spec.predictor,
    overheads: spec.overheads,
    routing: "round-robin",
    slo: spec.slo,
    fluidity: spec.fluidity,
    compatibility: spec.compatibility,
    seed: spec.seed,
  };
}
