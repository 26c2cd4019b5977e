/** What the journal's events add up to: every job with what was ordered for it. Pure: the same events give the same state. */
import type { Doubt, Observation } from "../profile/refine.ts";
import type { EngineTerms } from "../runners/engine.ts";
import type { GrantedSlice, Outcome, RunnerJob } from "../runners/runner.ts";
import type { JobEntry } from "./jobs-file.ts";
import type { JournalEvent, Verdict } from "./journal.ts";

/** A job's story so far; times in Unix seconds. */
export interface JobRecord {
  readonly entry: JobEntry;
  readonly job: RunnerJob;
  readonly arrivedAt: number;
  /** Starts ordered so far. */
  attempt: number;
  /** What the start `attempt` is granted; empty when it is over, or there was none. */
  slices: readonly GrantedSlice[];
  speed: number;
  startedAt: number | null;
  /** Set while it is being stopped. */
  askedAt: number | null;
  askedBecause: string;
  /** Last durable checkpoint that was acknowledged, and in which start. */
  checkpoint: {
    readonly attempt: number;
    readonly step: number;
    readonly dir: string;
    readonly samples: number;
  } | null;
  step: number;
  samples: number;
  /** What was observed of its speed, over all starts, oldest first. */
  readonly observations: Observation[];
  /** Observations in a row that were not believed, and why the last one was not. */
  doubts: number;
  doubt: Doubt | null;
  /** Seconds of work at speed 1 that starts before this one did, for jobs that do not report. */
  workedSeconds: number;
  attainedGpuSeconds: number;
  lastRanAt: number | null;
  failures: number;
  losses: number;
  /** Not started again before. */
  notBefore: number;
  lastOutcome: Outcome | null;
  /** A change of cores in place was refused once. */
  isFixed: boolean;
  cancelled: boolean;
  verdict: Verdict | null;
  reason: string;
  finishedAt: number | null;
}

/** Waits between starts that failed grow from here, seconds. */
const retrySeconds = 2;

export class RunState {
  readonly jobs = new Map<string, JobRecord>();
  readonly draining = new Set<string>();
  drainsAll = false;
  fence = 0;
  startedAt: number | null = null;
  /** Where the jobs are. */
  engine: EngineTerms | null = null;

  apply(event: JournalEvent): void {
    const { at } = event;
    if (event.kind === "opened") {
      this.fence = event.fence;
      this.startedAt ??= at;
      this.engine = event.engine ?? this.engine;
      // Who starts a scheduler wants jobs to be started.
      this.drainsAll = false;
      return;
    }
    if (event.kind === "arrived") {
      const job = newRecord(event.entry, event.job, at);
      this.jobs.set(event.entry.id, job);
      finish(job, event);
      return;
    }
    if (event.kind === "drain") {
      if (event.server === null) this.drainsAll = event.on;
      else if (event.on) this.draining.add(event.server);
      else this.draining.delete(event.server);
      return;
    }
    const job = this.jobs.get(event.id);
    if (job === undefined) return;
    switch (event.kind) {
      case "ordered":
        job.attempt = event.attempt;
        job.slices = event.slices;
        job.speed = event.speed;
        job.startedAt = at;
        job.askedAt = null;
        break;
      case "resized":
        bank(job, at);
        job.slices = event.slices;
        job.speed = event.speed;
        break;
      case "fixed":
        job.isFixed = true;
        break;
      case "asked":
        job.askedAt = at;
        job.askedBecause = event.reason;
        break;
      case "progress":
        job.step = event.step;
        job.samples = event.samples;
        break;
      case "observed":
        job.observations.push(event.observation);
        job.doubt = event.doubt;
        job.doubts = event.doubt === null ? 0 : job.doubts + 1;
        break;
      case "checkpointed": {
        const { step, dir, samples } = event;
        job.checkpoint = { attempt: job.attempt, step, dir, samples };
        break;
      }
      case "ended":
        bank(job, at);
        job.slices = [];
        job.startedAt = null;
        job.askedAt = null;
        job.lastOutcome = event.outcome;
        job.lastRanAt = at;
        // It goes on from its checkpoint; without one, from the beginning.
        job.samples = job.checkpoint?.samples ?? 0;
        job.step = job.checkpoint?.step ?? 0;
        if (event.as === "failure") job.failures++;
        if (event.as === "lost") job.losses++;
        if (event.as === "failure" || event.as === "lost")
          job.notBefore = at + retrySeconds * 2 ** Math.min(8, job.failures + job.losses - 1);
        finish(job, event);
        break;
      case "cancel":
        job.cancelled = true;
        break;
      case "finished":
        finish(job, event);
        break;
    }
  }

  /** Jobs whose story goes on. */
  open(): readonly JobRecord[] {
    return [...this.jobs.values()].filter((job) => job.verdict === null);
  }
}

function finish(
  job: JobRecord,
  { at, verdict, reason }: { at: number; verdict: Verdict | null; reason: string },
): void {
  if (verdict === null) return;
  job.verdict = verdict;
  job.reason = reason;
  job.finishedAt = at;
}

/** Counts the time since the start, or the last change of what is granted. */
function bank(job: JobRecord, at: number): void {
  if (job.startedAt === null) return;
  const seconds = Math.max(0, at - job.startedAt);
  job.workedSeconds += seconds * job.speed;
  job.attainedGpuSeconds += seconds * job.entry.gpus;
  job.startedAt = at;
}

function newRecord(entry: JobEntry, job: RunnerJob, arrivedAt: number): JobRecord {
  return {
    entry,
    job,
    arrivedAt,
    attempt: 0,
    slices: [],
    speed: 0,
    startedAt: null,
    askedAt: null,
    askedBecause: "",
    checkpoint: null,
    step: 0,
    samples: 0,
    observations: [],
    doubts: 0,
    doubt: null,
    workedSeconds: 0,
    attainedGpuSeconds: 0,
    lastRanAt: null,
    failures: 0,
    losses: 0,
    notBefore: 0,
    lastOutcome: null,
    isFixed: false,
    cancelled: false,
    verdict: null,
    reason: "",
    finishedAt: null,
  };
}
