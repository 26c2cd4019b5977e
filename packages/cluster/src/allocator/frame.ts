/** What all allocators share: jobs that stay where they are, and the plan at the end. */
import { changeCost, changeKind } from "../changes.ts";
import type { Assignment, ClusterState, JobState, Plan, Slice, WaitReason } from "../contracts.ts";
import { settleGpus } from "../placement/gpus.ts";
import { type Draft, Ledger, type Part } from "../placement/ledger.ts";
import { isFixed, isPinned } from "../policy/select.ts";
import { type Choice, sameChoice, speedWithin } from "../profile/options.ts";

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

/** Seconds over which a gain in speed is weighed against what a change costs. */
export const weighingSeconds = 3600;

/** Whether stopping the job, or emptying its cache, costs it anything. */
export function changesCost({ restartSeconds, refillSeconds }: JobState): boolean {
  return restartSeconds > 0 || refillSeconds > 0;
}

/** Speed times time until the next weighing, less what comes of changing to this on the way. */
export function worthWith(job: JobState, choice: Choice, moved: boolean): number {
  const from = job.held;
  const kind =
    from.length === 0 ? "start" : moved ? "move" : changeKind(job, stretched(job, choice));
  const span = Math.min(weighingSeconds, job.remainingSeconds / choice.speed);
  const first = kind === "start";
  return choice.speed * (span - (first ? 0 : changeCost(job, kind, choice.cacheBytes)));
}

/** What the job holds, with the amounts of this choice instead. */
function stretched({ held, gpus }: JobState, choice: Choice): readonly Slice[] {
  return held.map((slice) => {
    const part = slice.gpus.length / gpus;
    const [cpus, hostBytes] = [choice.cpus * part, choice.hostBytes * part];
    const same = Math.abs(cpus - slice.cpus) < 1e-6 && Math.abs(hostBytes - slice.hostBytes) < 1;
    return same ? slice : { ...slice, cpus, hostBytes };
  });
}

/**
 * A ledger with the jobs that stay placed on it, and the others in their order. Those that must stay come first; with
 * `costs` also those that run and would pay for a change, with what they hold (`kept`).
 */
export function startPlan(
  state: ClusterState,
  order: readonly JobState[],
  costs = false,
): {
  readonly ledger: Ledger;
  readonly drafts: Draft[];
  readonly kept: readonly Draft[];
  readonly others: JobState[];
} {
  const ledger = new Ledger(state);
  const drafts: Draft[] = [];
  const kept: Draft[] = [];
  const others: JobState[] = [];
  for (const job of order)
    if (mustStay(state, job)) {
      // What cannot give back keeps all it has; the others start from their floor.
      const choice = isFixed(state, job) ? heldChoice(job) : job.options.floor;
      drafts.push(ledger.add(job, choice, heldParts(job)));
    }
  for (const job of order) {
    if (mustStay(state, job)) continue;
    const choice = costs && changesCost(job) ? keptChoice(state, ledger, job) : null;
    if (choice === null) others.push(job);
    else kept.push(ledger.add(job, choice, heldParts(job)));
  }
  drafts.push(...kept);
  return { ledger, drafts, kept, others };
}

/** What a running job can go on with where it is: all it holds, or its floor; null when its place is gone. */
function keptChoice(state: ClusterState, ledger: Ledger, job: JobState): Choice | null {
  const parts = heldParts(job);
  if (parts.length === 0) return null;
  for (const { server, gpus } of parts)
    if (state.servers[server]?.condition !== "up" || (ledger.gpus[server] as number) < gpus)
      return null;
  const fits = (choice: Choice): boolean =>
    parts.every(({ server, gpus }) => ledger.fits(server, job, choice, gpus));
  const held = heldChoice(job);
  if (held.speed >= 1 - 1e-9 && fits(held)) return exactChoice(job, held);
  return fits(job.options.floor) ? job.options.floor : null;
}

/** The choice as the object of the job's options where it is one of them. */
export function exactChoice(job: JobState, held: Choice): Choice {
  return job.options.choices.find((choice) => sameChoice(choice, held)) ?? held;
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
