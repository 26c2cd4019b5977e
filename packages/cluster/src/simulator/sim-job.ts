/** A job in the simulation: what the scheduler sees of it, and what is true. */
import type { JobState, ResizeMode, Slice } from "../contracts.ts";
import { type OnlineProfile, onlineProfile } from "../profile/online.ts";
import type { SpeedOptions } from "../profile/options.ts";
import type { TrueCurve } from "./truth.ts";

/** A job to be simulated. */
export interface JobSpec {
  readonly id: string;
  readonly tenant: string;
  readonly model: string;
  readonly arrivedAt: number;
  readonly gpus: number;
  /** Seconds of the whole job at its proportional share. */
  readonly workSeconds: number;
  /** The choices that the scheduler believes in. */
  readonly options: SpeedOptions;
  /** Real speed over believed speed, above speed 1; 1 where the profile is right (see profile error). */
  readonly gainFactor: number;
  /** The curve behind the options, for simulations that refine it; null where there is none. */
  readonly curve: TrueCurve | null;
  readonly preemptible: boolean;
  readonly resize: ResizeMode;
  readonly restartSeconds: number;
  /** Seconds before its first work; 0 by default. */
  readonly startSeconds?: number;
  readonly refillSeconds: number;
  readonly refillBytesPerSecond: number | null;
  readonly dataset: string | null;
  readonly spanFactor: number;
}

/** The state that a run keeps of a job; the scheduler gets it as a JobState. */
export class SimJob implements JobState {
  readonly spec: JobSpec;
  readonly row: number;
  readonly id: string;
  readonly tenant: string;
  readonly arrivedAt: number;
  readonly gpus: number;
  options: SpeedOptions;
  readonly workSeconds: number;
  readonly preemptible: boolean;
  readonly resize: ResizeMode;
  readonly restartSeconds: number;
  readonly refillSeconds: number;
  readonly refillBytesPerSecond: number | null;
  readonly dataset: string | null;
  readonly spanFactor: number;
  remainingSeconds: number;
  attainedGpuSeconds = 0;
  lastRanAt: number | null = null;
  boosted = false;
  held: readonly Slice[] = [];
  warmBytes = 0;
  /** Real speed of what it holds. */
  speed = 0;
  /** Seconds of restart and refill that it has still to sit out. */
  overheadSeconds = 0;
  /** What is known of its curve, and seconds of work with its grant that were not looked at yet. */
  online: OnlineProfile | null;
  unseenSeconds = 0;
  restarts = 0;
  preemptions = 0;
  firstStart = Number.NaN;

  constructor(spec: JobSpec, row: number) {
    this.spec = spec;
    this.row = row;
    this.id = spec.id;
    this.tenant = spec.tenant;
    this.arrivedAt = spec.arrivedAt;
    this.gpus = spec.gpus;
    this.options = spec.options;
    this.workSeconds = spec.workSeconds;
    this.preemptible = spec.preemptible;
    this.resize = spec.resize;
    this.restartSeconds = spec.restartSeconds;
    this.refillSeconds = spec.refillSeconds;
    this.refillBytesPerSecond = spec.refillBytesPerSecond;
    this.dataset = spec.dataset;
    this.spanFactor = spec.spanFactor;
    this.remainingSeconds = spec.workSeconds;
    this.online = spec.curve === null ? null : onlineProfile(spec.curve.profile);
  }

  /** When it would end if nothing changed; Infinity while it waits. */
  endsAt(now: number): number {
    return this.speed > 0
      ? now + this.overheadSeconds + this.remainingSeconds / this.speed
      : Number.POSITIVE_INFINITY;
  }

  /** Runs it for `seconds` at what it holds. */
  advance(seconds: number, until: number): void {
    this.attainedGpuSeconds += seconds * this.gpus;
    this.lastRanAt = until;
    const idle = Math.min(seconds, this.overheadSeconds);
    this.overheadSeconds -= idle;
    this.unseenSeconds += seconds - idle;
    this.remainingSeconds = Math.max(0, this.remainingSeconds - (seconds - idle) * this.speed);
  }
}
