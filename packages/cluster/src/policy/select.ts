/** Which jobs run: all GPUs or none, in order, smaller ones passing where a larger one does not fit (backfill). */
import type { ClusterState, JobState, WaitReason } from "../contracts.ts";

/** A choice by GPUs alone; CPUs and memory never keep a job from running, because every GPU brings its share. */
export interface Selection {
  readonly chosen: readonly JobState[];
  readonly waiting: readonly { readonly job: string; readonly reason: WaitReason }[];
}

/**
 * Walks the order. Jobs that may not be stopped are chosen first. GPUs of draining servers count only for the jobs that
 * hold them; a job that holds any is otherwise treated as if it had to move. A tenant's limit is kept.
 */
export function selectJobs(state: ClusterState, order: readonly JobState[]): Selection {
  const { servers, tenants } = state;
  let free = 0;
  let total = 0;
  let draining = false;
  for (const server of servers) {
    if (server.condition === "down") continue;
    total += server.gpus;
    if (server.condition === "up") free += server.gpus;
    else draining = true;
  }
  const limits = new Map<string, number>();
  for (const tenant of tenants)
    if (tenant.limitGpus !== null) limits.set(tenant.name, tenant.limitGpus);
  const pinned = new Set<JobState>();
  for (const job of order)
    if (isPinned(state, job)) {
      pinned.add(job);
      for (const { server, gpus } of job.held)
        if (servers[server]?.condition === "up") free -= gpus.length;
      charge(limits, job);
    }
  const chosen: JobState[] = [];
  const waiting: { job: string; reason: WaitReason }[] = [];
  for (const job of order) {
    if (pinned.has(job)) {
      chosen.push(job);
      continue;
    }
    const limit = limits.get(job.tenant);
    if (limit !== undefined && job.gpus > limit) {
      waiting.push({ job: job.id, reason: "quota" });
      continue;
    }
    // What it holds on draining servers it may go on with, without taking from the others.
    const kept = draining ? heldWhereDraining(state, job) : 0;
    if (job.gpus - kept > free) {
      waiting.push({ job: job.id, reason: job.gpus > total ? "impossible" : "gpus" });
      continue;
    }
    free -= job.gpus - kept;
    charge(limits, job);
    chosen.push(job);
  }
  return { chosen, waiting };
}

/** It runs, must not be stopped, and none of its servers is lost. */
export function isPinned({ servers }: ClusterState, job: JobState): boolean {
  return (
    !job.preemptible &&
    job.held.length > 0 &&
    job.held.every(({ server }) => (servers[server]?.condition ?? "down") !== "down")
  );
}

/** Pinned, and unable to give back in place: it keeps exactly what it holds. */
export function isFixed(state: ClusterState, job: JobState): boolean {
  return job.resize !== "live" && isPinned(state, job);
}

function heldWhereDraining({ servers }: ClusterState, job: JobState): number {
  let gpus = 0;
  for (const slice of job.held)
    if (servers[slice.server]?.condition === "draining") gpus += slice.gpus.length;
  return gpus;
}

function charge(limits: Map<string, number>, job: JobState): void {
  const limit = limits.get(job.tenant);
  if (limit !== undefined) limits.set(job.tenant, limit - job.gpus);
}
