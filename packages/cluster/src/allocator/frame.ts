/** What all allocators share: jobs that stay where they are, and the plan at the end. */
import type { Assignment, ClusterState, JobState, Plan, WaitReason } from "../contracts.ts";
import { settleGpus } from "../placement/gpus.ts";
import { type Draft, Ledger, type Part } from "../placement/ledger.ts";
import { isFixed, isPinned } from "../policy/select.ts";
import { type Choice, speedWithin } from "../profile/options.ts";

/** What the job holds as parts of a placement. */
export function heldParts(job: JobState): readonly Part[] {
  return job.held.map(({ server, gpus }) => ({ server, gpus: gpus.length }));
}

/** What the job holds as a choice; its speed is that of the best choice within it. */
export function heldChoice(job: JobState): Choice {
  let cpus = 0;
  let hostBytes = 0;
  let cacheBytes = 0;
  for (const slice of job.held) {
    cpus += slice.cpus;
    hostBytes += slice.hostBytes;
    cacheBytes += slice.cacheBytes;
  }
  return { cpus, hostBytes, cacheBytes, speed: speedWithin(job.options, cpus, hostBytes) };
}

/** Whether a job that runs again must do so on the GPUs that it holds: it is pinned, or on a server that drains. */
export function mustStay(state: ClusterState, job: JobState): boolean {
  if (job.held.length === 0) return false;
  if (isPinned(state, job)) return true;
  let draining = false;
  for (const { server } of job.held) {
    const condition = state.servers[server]?.condition;
    if (condition === undefined || condition === "down") return false;
    if (condition === "draining") draining = true;
  }
  return draining;
}

/** A ledger with the jobs that must stay placed on it, and the others in their order. */
export function startPlan(
  state: ClusterState,
  order: readonly JobState[],
): { readonly ledger: Ledger; readonly drafts: Draft[]; readonly others: JobState[] } {
  const ledger = new Ledger(state);
  const drafts: Draft[] = [];
  const others: JobState[] = [];
  for (const job of order)
    if (mustStay(state, job)) {
      // What cannot give back keeps all it has; the others start from their floor.
      const choice = isFixed(state, job) ? heldChoice(job) : job.options.floor;
      drafts.push(ledger.add(job, choice, heldParts(job)));
    } else others.push(job);
  return { ledger, drafts, others };
}

/** Raises jobs that had to stay to the best choice that the others left room for. */
export function raiseStaying(state: ClusterState, ledger: Ledger, drafts: readonly Draft[]): void {
  for (const draft of drafts) {
    if (!mustStay(state, draft.job) || isFixed(state, draft.job)) continue;
    let chosen = draft.choice;
    for (const choice of draft.job.options.choices)
      if (choice.speed > chosen.speed && ledger.fitsInstead(draft, choice)) chosen = choice;
    if (chosen !== draft.choice) ledger.change(draft, chosen);
  }
}

/** Speed that the plan predicts: the choice's, less where the job spans servers. */
export function draftSpeed({ job, choice, parts }: Draft): number {
  return parts.length > 1 ? choice.speed * job.spanFactor : choice.speed;
}

/** The plan of these drafts. */
export function finishPlan(
  state: ClusterState,
  drafts: readonly Draft[],
  waiting: readonly { readonly job: string; readonly reason: WaitReason }[],
  bound: number | null = null,
): Plan {
  const slices = settleGpus(state, drafts);
  const assignments: Assignment[] = drafts.map((draft, d) => ({
    job: draft.job.id,
    slices: slices[d] ?? [],
    speed: draftSpeed(draft),
  }));
  return { at: state.now, assignments, waiting, executable: true, bound };
}
