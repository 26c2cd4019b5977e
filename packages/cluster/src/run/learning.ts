/**
 * What jobs report, cut into stretches that their profiles can learn from: one grant, reports at both ends, CPU time by the
 * engine's own measure. Samples that no machine could have made are not counted at all. Pure: time comes with every call.
 */
import type { Observation } from "../profile/refine.ts";
import { cpusOf, memoryOf } from "./orders.ts";
import type { JobRecord } from "./run-state.ts";

/** What a job says of the time since its last report. */
export interface Report {
  readonly computeSeconds: number;
  readonly waitSeconds: number;
  readonly samples: number;
}

interface Stretch {
  readonly attempt: number;
  readonly cpus: number;
  readonly hostBytes: number;
  readonly from: number;
  to: number;
  computeSeconds: number;
  waitSeconds: number;
  samples: number;
  /** The first and the last look at the engine's count of CPU seconds. */
  looks: { first: Look; last: Look } | null;
}

interface Look {
  readonly at: number;
  readonly cpuSeconds: number;
}

/** Looks come a few times a second; CPU time between them is taken as even over the stretch. */
const coveredPart = 0.5;

export class Learning {
  private readonly seconds: number;
  private readonly open = new Map<string, Stretch>();

  /** `seconds`: length of a stretch; 0 learns nothing. */
  constructor(seconds: number) {
    this.seconds = seconds;
  }

  /** A report; the first after a change of the grant opens a stretch and counts for nothing. */
  reported(job: JobRecord, at: number, report: Report, settleSeconds: number): void {
    const { id } = job.entry;
    if (this.seconds === 0 || job.slices.length === 0 || job.askedAt !== null) return;
    const cpus = cpusOf(job.slices);
    const hostBytes = memoryOf(job.slices);
    const stretch = this.open.get(id);
    const same =
      stretch !== undefined &&
      stretch.attempt === job.attempt &&
      stretch.cpus === cpus &&
      stretch.hostBytes === hostBytes;
    if (same) {
      stretch.to = at;
      stretch.computeSeconds += report.computeSeconds;
      stretch.waitSeconds += report.waitSeconds;
      stretch.samples += report.samples;
      return;
    }
    this.open.delete(id);
    // A cold cache says nothing about a warm one.
    if (at < (job.startedAt ?? at) + settleSeconds) return;
    this.open.set(id, {
      attempt: job.attempt,
      cpus,
      hostBytes,
      from: at,
      to: at,
      computeSeconds: 0,
      waitSeconds: 0,
      samples: 0,
      looks: null,
    });
  }

  /** The engine's count of a job's CPU seconds; what was observed when that completes a stretch, else null. */
  looked(job: JobRecord, at: number, cpuSeconds: number | null): Observation | null {
    const { id, gpus } = job.entry;
    const stretch = this.open.get(id);
    if (stretch === undefined) return null;
    if (cpuSeconds === null || job.slices.length === 0 || stretch.attempt !== job.attempt) {
      this.open.delete(id);
      return null;
    }
    const look = { at, cpuSeconds };
    stretch.looks =
      stretch.looks === null ? { first: look, last: look } : { ...stretch.looks, last: look };
    const { first, last } = stretch.looks;
    const wallSeconds = stretch.to - stretch.from;
    const covered = last.at - first.at;
    if (wallSeconds < this.seconds || covered < coveredPart * wallSeconds) return null;
    this.open.delete(id);
    const used = last.cpuSeconds - first.cpuSeconds;
    // Processes that ended took their count with them.
    if (used < 0) return null;
    const { cpus, hostBytes, samples, computeSeconds, waitSeconds } = stretch;
    return {
      cpus,
      gpus,
      hostBytes,
      wallSeconds,
      cpuSeconds: (used / covered) * wallSeconds,
      samples,
      computeSeconds,
      waitSeconds,
    };
  }
}
