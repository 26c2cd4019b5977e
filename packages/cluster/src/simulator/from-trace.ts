/** From a trace and published profiles to jobs that the simulator can run. */
import { formatBytes, MillraceError } from "@millrace/core";
import type { NumaNode, ServerState } from "../contracts.ts";
import { type ShareTerms, type SpeedOptions, speedOptions } from "../profile/options.ts";
import { type RefillTerms, refillOf } from "../profile/refill.ts";
import { shareTerms } from "../profile/share.ts";
import { checkSpeedProfile, rateAt, type SpeedProfile } from "../profile/speed-profile.ts";
import type { TraceJob } from "../trace/job-trace.ts";
import type { JobSpec } from "./sim-job.ts";

/** A model: its curve, and what an iteration at the proportional share takes. Of its refill, what it does not know the terms say. */
export interface Model extends RefillTerms {
  readonly profile: SpeedProfile;
  readonly iterationSeconds: number;
  /** Host memory per GPU that is no cache (default 0). */
  readonly ownBytes?: number;
}

/** Terms that a trace does not say, the same for all its jobs. */
export interface JobTerms {
  readonly restartSeconds: number;
  readonly refillSeconds: number;
  readonly resize: JobSpec["resize"];
  readonly preemptible: boolean;
  readonly spanFactor: number;
  /** Real gain over believed gain of a row of the trace; 1 for true profiles. */
  readonly gainFactor: (row: number) => number;
  /** Of jobs whose trace names none. */
  readonly tenant: string;
}

export const idealTerms: JobTerms = {
  restartSeconds: 0,
  refillSeconds: 0,
  resize: "restart",
  preemptible: true,
  spanFactor: 1,
  gainFactor: () => 1,
  tenant: "all",
};

/** Equal servers; their GPUs and cores are in so many NUMA nodes, as evenly as whole GPUs allow. */
export function uniformServers(
  count: number,
  gpus: number,
  cpus: number,
  hostBytes: number,
  numaNodes = 1,
): readonly ServerState[] {
  const numa = numaNodes > 1 ? evenNodes(gpus, cpus, numaNodes) : [];
  return Array.from({ length: count }, (_, i) => ({
    name: `s${i}`,
    gpus,
    cpus,
    hostBytes,
    condition: "up" as const,
    numa,
  }));
}

function evenNodes(gpus: number, cpus: number, nodes: number): readonly NumaNode[] {
  const first = (node: number) => Math.floor((node * gpus) / nodes);
  return Array.from({ length: nodes }, (_, node) => ({
    cpus: cpus / nodes,
    gpus: Array.from({ length: first(node + 1) - first(node) }, (_, i) => first(node) + i),
  }));
}

/** The model's curve. Throws PROFILE_INVALID when it is none, or is 0 at the proportional share. */
function checkShare({ profile }: Model, share: ShareTerms): SpeedProfile {
  checkSpeedProfile(profile);
  if (rateAt(profile, share.cpusPerGpu, share.hostBytesPerGpu) > 0) return profile;
  throw new MillraceError(
    "PROFILE_INVALID",
    `model ${profile.name} does not run on its share of ${share.cpusPerGpu} CPUs and ${formatBytes(share.hostBytesPerGpu)} per GPU`,
    { hint: "give the servers more memory, or leave the model out" },
  );
}

/** The jobs that can run on these servers, and those that cannot, named. */
export function jobSpecs(
  trace: readonly TraceJob[],
  models: ReadonlyMap<string, Model>,
  servers: readonly ServerState[],
  terms: JobTerms,
): {
  readonly jobs: readonly JobSpec[];
  readonly rejected: readonly { readonly id: number; readonly reason: string }[];
} {
  const share = shareTerms(servers);
  const gpus = servers.reduce((sum, server) => sum + server.gpus, 0);
  const options = new Map<string, SpeedOptions>();
  const jobs: JobSpec[] = [];
  const rejected: { id: number; reason: string }[] = [];
  trace.forEach((job, row) => {
    const model = models.get(job.model);
    if (model === undefined || job.gpus > gpus) {
      const reason =
        model === undefined
          ? `no profile of model ${job.model}`
          : `needs ${job.gpus} GPUs of ${gpus}`;
      rejected.push({ id: job.id, reason });
      return;
    }
    const key = `${job.gpus} ${job.model}`;
    let choices = options.get(key);
    if (choices === undefined) {
      choices = speedOptions(checkShare(model, share), job.gpus, share, model.ownBytes);
      options.set(key, choices);
    }
    jobs.push({
      id: String(job.id),
      tenant: job.tenant ?? terms.tenant,
      model: job.model,
      arrivedAt: job.arrivalSeconds,
      gpus: job.gpus,
      workSeconds: job.iterations * model.iterationSeconds,
      options: choices,
      gainFactor: terms.gainFactor(row),
      curve: {
        profile: model.profile,
        share,
        ownBytes: model.ownBytes ?? 0,
        gainFactor: terms.gainFactor(row),
      },
      preemptible: terms.preemptible,
      resize: terms.resize,
      restartSeconds: terms.restartSeconds,
      ...refillOf(model, job.gpus, terms.refillSeconds),
      dataset: job.dataset ?? null,
      spanFactor: terms.spanFactor,
    });
  });
  return { jobs, rejected };
}
