/** Arrival processes. Random ones draw at rate 1 and divide by the rate, so that another rate rescales the same stream. */
import { MillraceError, type Rng } from "@millrace/core";
import type { ArrivalSpec, DiurnalArrivals, TraceArrivals } from "./spec.ts";
import type { TraceRows } from "./trace-csv.ts";

/** Arrival times one after another. */
export interface ArrivalSource {
  /** Seconds from the start of the run, never before the one returned last; Infinity after the last. */
  next(): number;
  /** Every arrival is at the same instant, so that only a number of requests ends the stream. */
  readonly instant?: boolean;
  /** Ends by itself. */
  readonly finite?: boolean;
}

/** The arrivals of a spec, drawn from `rng`; `trace` finds a trace by its path. Cost per arrival below 0.1 µs. */
export function arrivalSource(
  spec: ArrivalSpec,
  rng: Rng,
  trace: (path: string) => TraceRows,
): ArrivalSource {
  switch (spec.type) {
    case "poisson":
      return new Renewal(() => rng.exponential(1), spec.qps);
    case "gamma": {
      const shape = 1 / (spec.cv * spec.cv);
      return spec.cv === 0
        ? evenly(spec.qps)
        : new Renewal(() => rng.gamma(shape, 1 / shape), spec.qps);
    }
    case "static":
      return spec.qps === undefined ? { next: () => 0, instant: true } : evenly(spec.qps);
    case "diurnal":
      return diurnal(spec, rng);
    case "trace":
      return replay(spec, trace(spec.path));
  }
}

/** Independent gaps of mean 1 at rate 1. */
class Renewal implements ArrivalSource {
  private at = 0;
  private readonly gap: () => number;
  private readonly qps: number;

  constructor(gap: () => number, qps: number) {
    this.gap = gap;
    this.qps = qps;
  }

  next(): number {
    this.at += this.gap();
    return this.at / this.qps;
  }
}

function evenly(qps: number): ArrivalSource {
  let i = 0;
  return { next: () => i++ / qps };
}

/**
 * Inverts the integrated rate at the arrivals of a unit Poisson process: the same law as thinning, but one draw per
 * arrival, so that streams of different rates stay comparable request by request.
 */
function diurnal(spec: DiurnalArrivals, rng: Rng): ArrivalSource {
  const swing = (spec.peakFactor - 1) / 2;
  const turn = (2 * Math.PI) / spec.period;
  const phase = spec.phase ?? 0;
  /** Integral of rate / qps over 0 … t of the day. */
  const integral = (t: number): number => t * (1 + swing) - (swing / turn) * Math.sin(turn * t);
  const start = integral(phase);
  let unit = 0;
  let day = phase;
  return {
    next: () => {
      unit += rng.exponential(1);
      const wanted = start + unit / spec.qps;
      // rate / qps >= 1, so the arrival is at most the missing integral away: Newton, kept inside that bracket.
      let low = day;
      let high = day + (wanted - integral(day));
      let t = Math.min(high, low + (high - low) / (1 + swing * (1 - Math.cos(turn * day))));
      for (let i = 0; i < 60 && high - low > 1e-13 * high; i++) {
        const error = integral(t) - wanted;
        if (error > 0) high = t;
        else low = t;
        const newton = t - error / (1 + swing * (1 - Math.cos(turn * t)));
        if (Math.abs(newton - t) <= 1e-15 * t) break;
        t = newton > low && newton < high ? newton : (low + high) / 2;
      }
      day = Math.max(day, t);
      return day - phase;
    },
  };
}

function replay(spec: TraceArrivals, rows: TraceRows): ArrivalSource {
  const { arrivedAt } = rows;
  if (arrivedAt === null) {
    throw new MillraceError("TRACE_INVALID", `${spec.path} has no column arrived_at`, {
      hint: "take another arrival process, or use the trace for its lengths alone",
    });
  }
  const { timeScale = 1, from = 0, to = Number.POSITIVE_INFINITY } = spec;
  let i = 0;
  while (i < rows.count && (arrivedAt[i] as number) < from) i++;
  return {
    finite: true,
    next: () => {
      const at = i < rows.count ? (arrivedAt[i++] as number) : Number.POSITIVE_INFINITY;
      return at < to ? (at - from) * timeScale : Number.POSITIVE_INFINITY;
    },
  };
}
