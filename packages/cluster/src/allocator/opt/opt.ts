/**
 * Synergy-OPT with a packing of our own in place of its second program: the choices of a linear program over classes of
 * jobs, the largest demands placed first, each on the server that they fit best. The program's optimum is reported as the
 * bound that no allocation exceeds; what packing loses against it is in the plan to see.
 */
import type { LinearSolver } from "@millrace/core/solver";
import type { AsyncAllocator, ClusterState, JobState, Plan, WaitReason } from "../../contracts.ts";
import { findPlace } from "../../placement/fit.ts";
import type { Draft, Ledger, Part } from "../../placement/ledger.ts";
import { selectJobs } from "../../policy/select.ts";
import type { Choice } from "../../profile/options.ts";
import {
  changesCost,
  exactChoice,
  finishPlan,
  heldChoice,
  heldParts,
  raiseStaying,
  startPlan,
  worthWith,
} from "../frame.ts";
import { placeAtFloor } from "../tune.ts";
import { type ClassCounts, classesOf, type JobClass, type Pool, solveClasses } from "./program.ts";
import { refine } from "./refine.ts";

/** Solutions kept: a queue that has not changed asks the same program again. */
const remembered = 256;

/** The allocator over a solver, which stays the caller's to dispose. */
export function opt(solver: LinearSolver): AsyncAllocator {
  const solutions = new Map<string, ClassCounts | null>();
  const names = new WeakMap<object, number>();
  let next = 0;
  const solve = async (classes: readonly JobClass[], pool: Pool): Promise<ClassCounts | null> => {
    const parts = classes.map(({ options, jobs }) => {
      let name = names.get(options);
      if (name === undefined) {
        name = next++;
        names.set(options, name);
      }
      return `${name}x${jobs.length}`;
    });
    const key = `${pool.cpus} ${pool.hostBytes} ${parts.join(" ")}`;
    const known = solutions.get(key);
    if (known !== undefined) return known;
    const solved = await solveClasses(classes, pool, solver);
    if (solutions.size === remembered) solutions.delete(solutions.keys().next().value ?? "");
    solutions.set(key, solved);
    return solved;
  };
  return async (state, order) => {
    const { chosen, waiting } = selectJobs(state, order);
    const { ledger, drafts, others } = startPlan(state, chosen);
    // One order of classes, so that the same queue in another order is the same program.
    const classes = [...classesOf(others)].sort(
      (a, b) => a.options.gpus - b.options.gpus || a.options.shareRate - b.options.shareRate,
    );
    const pool = poolOf(ledger);
    const solved = classes.length === 0 ? null : await solve(classes, pool);
    return pack(
      state,
      ledger,
      drafts,
      targetsOf(classes, solved),
      waiting,
      boundOf(drafts, solved),
    );
  };
}

/** CPUs and memory that the jobs that stay have left. */
function poolOf(ledger: Ledger): Pool {
  const sum = (values: Float64Array) =>
    values.reduce((total, value) => total + Math.max(0, value), 0);
  return { cpus: sum(ledger.cpus), hostBytes: sum(ledger.hostBytes) };
}

function boundOf(staying: readonly Draft[], solved: ClassCounts | null): number | null {
  return solved === null
    ? null
    : solved.bound + staying.reduce((sum, { choice }) => sum + choice.speed, 0);
}

/** A choice for every job: those that hold one of their class's choices keep it, the others take theirs in order. */
function targetsOf(
  classes: readonly JobClass[],
  solved: ClassCounts | null,
): readonly { readonly job: JobState; readonly target: Choice }[] {
  return classes.flatMap(({ options, jobs }, k) => {
    const left = [...(solved?.counts[k] ?? [])];
    const targets = new Map<JobState, Choice>();
    for (const job of jobs) {
      const cpus = job.held.reduce((sum, slice) => sum + slice.cpus, 0);
      const bytes = job.held.reduce((sum, slice) => sum + slice.hostBytes, 0);
      const c = options.choices.findIndex(
        (choice, i) =>
          (left[i] ?? 0) > 0 &&
          Math.abs(choice.cpus - cpus) < 1e-6 &&
          Math.abs(choice.hostBytes - bytes) < 1,
      );
      if (c < 0) continue;
      left[c]!--;
      targets.set(job, options.choices[c] as Choice);
    }
    let c = options.choices.length - 1;
    return jobs.map((job) => {
      const kept = targets.get(job);
      if (kept !== undefined) return { job, target: kept };
      while (c > 0 && (left[c] ?? 0) === 0) c--;
      if ((left[c] ?? 0) === 0) return { job, target: options.floor };
      left[c]!--;
      return { job, target: options.choices[c] as Choice };
    });
  });
}

/** Places targets, largest first; one that fits nowhere takes the best choice that does. */
function pack(
  state: ClusterState,
  ledger: Ledger,
  drafts: Draft[],
  targets: readonly { readonly job: JobState; readonly target: Choice }[],
  waiting: Plan["waiting"],
  bound: number | null,
): Plan {
  const left: { job: string; reason: WaitReason }[] = [...waiting];
  const size = (choice: Choice) => choice.cpus / shareCpus + choice.hostBytes / shareBytes;
  const shareCpus = Math.max(1, ...state.servers.map((server) => server.cpus));
  const shareBytes = Math.max(1, ...state.servers.map((server) => server.hostBytes));
  const staying = drafts.length;
  // Who would pay for a change stays, with the target only where that pays; the others are placed around them.
  const stayers: Draft[] = [];
  const free = targets.filter(({ job, target }) => {
    const stay = changesCost(job) ? stayerOf(state, ledger, job, target) : null;
    if (stay !== null) stayers.push(stay);
    return stay === null;
  });
  drafts.push(...stayers);
  const sorted = [...free].sort(
    (a, b) => b.job.gpus - a.job.gpus || size(b.target) - size(a.target),
  );
  for (const { job, target } of sorted) {
    const placed = placeTarget(state, ledger, job, target);
    if (placed === null) left.push({ job: job.id, reason: "resources" });
    else drafts.push(placed);
  }
  raise(ledger, drafts.slice(staying + stayers.length));
  raiseStaying(state, ledger, drafts);
  return finishPlan(state, refine(state, drafts), left, bound);
}

/** A running job where it is: with its target, or with what it holds where the change does not pay or does not fit. */
function stayerOf(
  state: ClusterState,
  ledger: Ledger,
  job: JobState,
  target: Choice,
): Draft | null {
  const held = exactChoice(job, heldChoice(job));
  const choices =
    worthWith(job, target, false) > worthWith(job, held, false) ? [target, held] : [held];
  for (const choice of choices) {
    if (choice.speed < 1 - 1e-9) continue;
    const parts = stayingParts(state, ledger, job, choice);
    if (parts !== null) return ledger.add(job, choice, parts);
  }
  return null;
}

/** Gives what packing left over to the jobs in the order of placement. */
function raise(ledger: Ledger, drafts: readonly Draft[]): void {
  for (const draft of drafts) {
    let chosen = draft.choice;
    for (const choice of draft.job.options.choices)
      if (choice.speed > chosen.speed && ledger.fitsInstead(draft, choice)) chosen = choice;
    if (chosen !== draft.choice) ledger.change(draft, chosen);
  }
}

function placeTarget(
  state: ClusterState,
  ledger: Ledger,
  job: JobState,
  target: Choice,
): Draft | null {
  const stay = stayingParts(state, ledger, job, target);
  if (stay !== null) return ledger.add(job, target, stay);
  const { choices } = job.options;
  for (let c = choices.indexOf(target); c >= 0; c--) {
    const choice = choices[c] as Choice;
    const parts = evenest(ledger, job, choice) ?? findPlace(ledger, job, choice, "consolidate");
    if (parts !== null) return ledger.add(job, choice, parts);
  }
  return placeAtFloor(state, ledger, job, "consolidate");
}

/** Where the job is, when its GPUs there are still free and the choice fits. */
function stayingParts(
  state: ClusterState,
  ledger: Ledger,
  job: JobState,
  choice: Choice,
): readonly Part[] | null {
  if (job.held.length === 0) return null;
  const parts = heldParts(job);
  for (const { server, gpus } of parts) {
    if (state.servers[server]?.condition !== "up") return null;
    if ((ledger.gpus[server] as number) < gpus) return null;
    if (!ledger.fits(server, job, choice, gpus)) return null;
  }
  return parts;
}

/**
 * The server whose free CPUs and memory per free GPU match the choice best: after placing, what is left per GPU is as
 * even as it can be, so that neither resource is stranded.
 */
function evenest(ledger: Ledger, job: JobState, choice: Choice): readonly Part[] | null {
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  for (let s = ledger.first; s < ledger.servers; s++) {
    const gpus = ledger.gpus[s] as number;
    if (gpus < job.gpus || !ledger.fits(s, job, choice, job.gpus)) continue;
    const cpus = (ledger.cpus[s] as number) / gpus;
    const bytes = (ledger.hostBytes[s] as number) / gpus;
    const wantCpus = choice.cpus / job.gpus;
    const wantBytes = choice.hostBytes / job.gpus;
    const gap =
      Math.abs(cpus - wantCpus) / Math.max(cpus, wantCpus, 1e-9) +
      Math.abs(bytes - wantBytes) / Math.max(bytes, wantBytes, 1e-9);
    if (gap < least) {
      least = gap;
      best = s;
    }
  }
  return best < 0 ? null : [{ server: best, gpus: job.gpus }];
}
