/** The space: the product of the axes, without what cannot run and without the same deployment twice (simulator.md 1.8). */
import type { KvGeometry } from "../fleet/create-fleet.ts";
import { memoryOptionsOf, planMemory } from "../memory/plan.ts";
import type { Candidate, SimulationConfig } from "../types.ts";
import { candidateKey, deploymentOf, deviceOf, devicesOf } from "./candidate.ts";
import { chunkingSchedulers, type PlanSpec, type SchedulerChoice } from "./spec.ts";

/** A candidate that can run, with what one replica of it is. */
export interface FeasibleCandidate {
  readonly config: Candidate;
  readonly deployment: SimulationConfig;
  readonly geometry: KvGeometry;
}

/** A candidate that cannot, and the term that is too large or does not divide. */
export interface RejectedCandidate {
  readonly config: Candidate;
  readonly reason: string;
  /** Bytes missing per device; 0 when memory is not the reason. */
  readonly missingBytes: number;
}

export interface ExpandedSpace {
  /** In the order of the axes; hardware outermost, so that jobs that share cost tables follow each other. */
  readonly feasible: readonly FeasibleCandidate[];
  readonly rejected: readonly RejectedCandidate[];
}

/** Walks the space. Pure; a candidate's memory plan costs microseconds. */
export function expandSpace(spec: PlanSpec): ExpandedSpace {
  const feasible: FeasibleCandidate[] = [];
  const rejected: RejectedCandidate[] = [];
  const seen = new Set<string>();
  for (const config of candidates(spec)) {
    const key = candidateKey(config);
    if (seen.has(key)) continue;
    seen.add(key);
    const judged = placeCandidate(spec, config, deploymentOf(spec, config));
    if ("reason" in judged) rejected.push(judged);
    else feasible.push(judged);
  }
  return { feasible, rejected };
}

/** Whether a candidate can run: rules first, then the memory of its fullest device. */
export function placeCandidate(
  spec: PlanSpec,
  config: Candidate,
  deployment: SimulationConfig,
): FeasibleCandidate | RejectedCandidate {
  const broken = brokenRule(spec, config);
  if (broken !== null) return { config, reason: broken, missingBytes: 0 };
  const memory = planMemory(deployment.model, deployment.device, memoryOptionsOf(deployment));
  const { shortfall } = memory;
  if (shortfall !== null)
    return { config, reason: shortfall.reason, missingBytes: shortfall.bytes };
  const geometry = {
    blocks: deployment.kv.numBlocks ?? memory.kvBlocks,
    blockTokens: memory.blockTokens,
  };
  return { config, deployment, geometry };
}

function* candidates(spec: PlanSpec): Generator<Candidate> {
  const { space, fleet } = spec;
  for (const device of fleet === null ? space.devices : [fleet.device])
    for (const tensorParallel of space.tensorParallel)
      for (const pipelineParallel of space.pipelineParallel)
        for (const { weightBytes, kvBytes } of space.precision)
          for (const choice of space.schedulers)
            for (const kv of choice.kv)
              for (const chunkSize of chunksOf(choice))
                for (const batchSizeCap of choice.batchSizeCaps)
                  yield {
                    device,
                    tensorParallel,
                    pipelineParallel,
                    scheduler: choice.template.type,
                    chunkSize,
                    batchSizeCap,
                    kv: kv.type,
                    weightBytes,
                    kvBytes,
                  };
}

/** A scheduler without chunks is listed once, whatever the chunk sizes are. */
function chunksOf({ template, chunkSizes }: SchedulerChoice): readonly number[] {
  return chunkingSchedulers.includes(template.type) ? chunkSizes : [template.chunkSize];
}

function brokenRule(spec: PlanSpec, c: Candidate): string | null {
  const device = deviceOf(spec, c.device);
  const { fleet } = spec;
  if (c.tensorParallel > device.devicesPerServer)
    return `tensorParallel ${c.tensorParallel} needs more devices than a server of ${device.name} has (${device.devicesPerServer})`;
  if (fleet !== null && devicesOf(c) > fleet.gpus)
    return `a replica of ${devicesOf(c)} devices is more than the fleet has (${fleet.gpus})`;
  if (c.batchSizeCap < c.pipelineParallel)
    return `batch size cap ${c.batchSizeCap} leaves no sequence for each of ${c.pipelineParallel} stages`;
  if (c.scheduler === "vllm-v1" && c.chunkSize < c.batchSizeCap)
    return `vLLM refuses a token budget of ${c.chunkSize} below its batch size cap of ${c.batchSizeCap}`;
  if (c.scheduler === "lightllm" && c.pipelineParallel > 1)
    return "lightllm has no pipeline parallelism";
  return null;
}
