/**
 * Arrival times of open loops. Random processes are conditioned on their count: n = rate x time arrivals, rescaled so
 * that they take exactly that time. Given its count a Poisson process is just that (n points in order), so nothing below
 * the length of the run changes, but the rate asked for is the rate sent: without it a run of 300 requests is off by 6 %.
 */
import { invariant, type Rng } from "@millrace/core";
import type { ArrivalSpec } from "@millrace/serving";
import type { RampArrivals, SweepArrivals } from "../contracts.ts";

/** Times in seconds, ascending, with the stage of each. */
export interface ArrivalTimes {
  readonly at: Float64Array;
  readonly stage: Uint16Array;
  /** Seconds in which they arrive. */
  readonly seconds: number;
}

/** Mean rate of a process that is rescaled; null for those that are taken as they come. */
export function steadyRate(spec: ArrivalSpec): number | null {
  return spec.type === "poisson" || spec.type === "gamma" ? spec.qps : null;
}

/** Scales `gapsEndingAt` (n + 1 arrivals of any rate) to n arrivals within `seconds`. */
export function conditioned(arrivals: Float64Array, seconds: number): Float64Array {
  const n = arrivals.length - 1;
  invariant(n >= 0, "one arrival more than wanted is needed to rescale");
  const factor = seconds / (arrivals[n] as number);
  return arrivals.subarray(0, n).map((at) => at * factor);
}

/** n arrivals of a unit-rate process within n (n a real number >= 0): Poisson, or evenly spaced from 0. */
function unitArrivals(total: number, process: "poisson" | "constant", rng: Rng): Float64Array {
  // 1e-9: 0.1 x 30 s must give 3 arrivals although the product is a float.
  if (process === "constant")
    return Float64Array.from({ length: Math.ceil(total - 1e-9) }, (_, i) => i);
  const n = Math.round(total);
  const sums = new Float64Array(n + 1);
  let sum = 0;
  for (let i = 0; i <= n; i++) {
    sum += rng.exponential(1);
    sums[i] = sum;
  }
  return conditioned(sums, total);
}

/** Arrivals of a linear ramp: a unit process through the inverse of the integrated rate. */
export function rampTimes(spec: RampArrivals, rng: Rng): ArrivalTimes {
  const { fromQps: a, toQps: b, seconds } = spec;
  const unit = unitArrivals(((a + b) / 2) * seconds, spec.process ?? "poisson", rng);
  const slope = (b - a) / seconds;
  // a t + slope t^2 / 2 = u, in the form that does not cancel when the slope is small or negative.
  const at = unit.map((u) => {
    const root = Math.sqrt(Math.max(0, a * a + 2 * slope * u));
    const t = u === 0 ? 0 : (2 * u) / (a + root);
    return Math.min(t, seconds);
  });
  return { at, stage: new Uint16Array(at.length), seconds };
}

/** Arrivals of stages of constant rate, one after the other. */
export function sweepTimes(spec: SweepArrivals, rng: Rng): ArrivalTimes {
  const times: number[] = [];
  const stages: number[] = [];
  let start = 0;
  spec.stages.forEach((stage, index) => {
    const unit = unitArrivals(
      stage.qps * stage.seconds,
      spec.process ?? "poisson",
      rng.fork(`stage${index}`),
    );
    for (const u of unit) {
      times.push(start + u / stage.qps);
      stages.push(index);
    }
    start += stage.seconds;
  });
  return { at: Float64Array.from(times), stage: Uint16Array.from(stages), seconds: start };
}
