/** How far a plan is, told after every job. */
import { compareCandidates } from "./economics.ts";
import type { JobRuns } from "./runs.ts";
import type { PlanSpec } from "./spec.ts";
import type { Standing } from "./standing.ts";

export interface PlanProgress {
  readonly phase: "screening" | "confirming" | "varying";
  /** Jobs of this phase; `total` grows as the phase finds out what it needs. */
  readonly done: number;
  readonly total: number;
  readonly best: { readonly name: string; readonly dollarsPerHour: number } | null;
  /** Runs of the simulator in jobs that ended; those of jobs in flight are not counted yet. */
  readonly simulations: number;
}

/** Where a phase says what it does: `total` more jobs are coming, one of them has ended. */
export interface JobProgress {
  coming(total: number): void;
  done(): void;
}

/** Turns what phases say into PlanProgress. */
export class ProgressReport {
  readonly jobs: JobProgress;
  private readonly spec: PlanSpec;
  private readonly runs: JobRuns;
  private readonly tell: (progress: PlanProgress) => void;
  private phase: PlanProgress["phase"] = "screening";
  private doneJobs = 0;
  private total = 0;
  private best: Standing | null = null;

  constructor(spec: PlanSpec, runs: JobRuns, tell: (progress: PlanProgress) => void = () => {}) {
    this.spec = spec;
    this.runs = runs;
    this.tell = tell;
    this.jobs = {
      coming: (total) => {
        this.total += total;
      },
      done: () => {
        this.doneJobs++;
        this.report();
      },
    };
  }

  enter(phase: PlanProgress["phase"], total: number): void {
    this.phase = phase;
    this.doneJobs = 0;
    this.total = total;
    this.report();
  }

  /** A candidate was screened; null when it meets the SLO at no rate. */
  readonly screened = (standing: Standing | null): void => {
    if (standing !== null && (this.best === null || this.before(standing, this.best)))
      this.best = standing;
    this.jobs.done();
  };

  private before(a: Standing, b: Standing): boolean {
    return compareCandidates(this.spec)(a, b) < 0;
  }

  private report(): void {
    const { best } = this;
    this.tell({
      phase: this.phase,
      done: this.doneJobs,
      total: this.total,
      best:
        best === null ? null : { name: best.name, dollarsPerHour: best.economics.dollarsPerHour },
      simulations: this.runs.simulations,
    });
  }
}
