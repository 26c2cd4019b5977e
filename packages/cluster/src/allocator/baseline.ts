/** The two simple allocators: GPU-proportional, as most clusters do it, and greedy (Synergy §4.2). */
import type { ClusterState, JobState, Plan, WaitReason } from "../contracts.ts";
import { findPlace, type PlacementMode } from "../placement/fit.ts";
import { selectJobs } from "../policy/select.ts";
import { finishPlan, startPlan } from "./frame.ts";

/** Every job gets its GPUs' part of a server, and stays where it runs when a move would cost it. */
export function proportional(mode: PlacementMode) {
  return (state: ClusterState, order: readonly JobState[]): Plan => {
    const { chosen, waiting } = selectJobs(state, order);
    const { ledger, drafts, others } = startPlan(state, chosen, true);
    const left: { job: string; reason: WaitReason }[] = [...waiting];
    for (const job of others) {
      const { share } = job.options;
      const parts = findPlace(ledger, job, share, mode);
      if (parts === null) left.push({ job: job.id, reason: "resources" });
      else drafts.push(ledger.add(job, share, parts));
    }
    return finishPlan(state, drafts, left);
  };
}

/** Every job gets its best choice or waits; GPUs may stay idle, and a job may wait for ever behind a hungry mix. */
export function greedy(mode: PlacementMode) {
  return (state: ClusterState, order: readonly JobState[]): Plan => {
    const { ledger, drafts, others } = startPlan(state, order);
    const waiting: { job: string; reason: WaitReason }[] = [];
    const limits = new Map(state.tenants.map((t) => [t.name, t.limitGpus]));
    const used = new Map<string, number>();
    for (const job of others) {
      const tenantGpus = (used.get(job.tenant) ?? 0) + job.gpus;
      if (tenantGpus > (limits.get(job.tenant) ?? Number.POSITIVE_INFINITY)) {
        waiting.push({ job: job.id, reason: "quota" });
        continue;
      }
      const { best } = job.options;
      const parts = findPlace(ledger, job, best, mode);
      if (parts === null) {
        waiting.push({ job: job.id, reason: job.gpus > ledger.freeGpus ? "gpus" : "resources" });
        continue;
      }
      used.set(job.tenant, tenantGpus);
      drafts.push(ledger.add(job, best, parts));
    }
    return finishPlan(state, drafts, waiting);
  };
}
