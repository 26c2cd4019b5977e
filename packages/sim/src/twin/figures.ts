/** What clients experienced, as figures: the same arithmetic for predicted and for measured token times. */
import { quantileSorted } from "@millrace/core";
import { microseconds, scoreFluidity } from "@millrace/serving";

/** One request as its client saw it. Seconds on one clock. */
export interface ClientRequest {
  /** When the schedule wanted it. */
  readonly arrivedAt: number;
  /** Arrival of each token, ascending; empty when it failed or was refused. */
  readonly tokenAt: readonly number[];
}

/** Quantiles in seconds; null where fewer than ten samples lie beyond the quantile, or there are none. */
export interface Quantiles {
  readonly n: number;
  readonly mean: number | null;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
}

export interface FluidityTargets {
  readonly ttftSeconds: number;
  readonly tbtSeconds: number;
}

/** Figures of a run. */
export interface RunFigures {
  readonly requests: number;
  readonly completed: number;
  readonly ttft: Quantiles;
  readonly tbt: Quantiles;
  readonly e2e: Quantiles;
  /** From the first arrival to the last token. */
  readonly seconds: number;
  readonly requestsPerSecond: number;
  readonly outputTokensPerSecond: number;
  /** Pooled index and share of requests at 0.9 or more; requests without tokens miss. */
  readonly fluidity: { readonly index: number; readonly shareAbove90: number };
}

/** Samples that must lie beyond a quantile for it to be stated. */
const BEYOND = 10;

/** Quantiles of samples; `strict` leaves out those with fewer than ten samples beyond. */
export function quantilesOf(samples: readonly number[], strict = true): Quantiles {
  const sorted = Float64Array.from(samples).sort();
  const n = sorted.length;
  const at = (q: number): number | null =>
    n === 0 || (strict && n * (1 - q) < BEYOND - 1e-9) ? null : quantileSorted(sorted, q);
  return {
    n,
    mean: n === 0 ? null : sorted.reduce((sum, x) => sum + x, 0) / n,
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
  };
}

/** Figures of the requests of one run. */
export function figuresOf(
  requests: readonly ClientRequest[],
  targets: FluidityTargets,
): RunFigures {
  const ttft: number[] = [];
  const tbt: number[] = [];
  const e2e: number[] = [];
  let met = 0;
  let missed = 0;
  let fluid = 0;
  let tokens = 0;
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  const [ttftUs, tbtUs] = [microseconds(targets.ttftSeconds), microseconds(targets.tbtSeconds)];
  for (const { arrivedAt, tokenAt } of requests) {
    from = Math.min(from, arrivedAt);
    const first = tokenAt[0];
    const last = tokenAt.at(-1);
    if (first === undefined || last === undefined) {
      missed++;
      continue;
    }
    tokens += tokenAt.length;
    to = Math.max(to, last);
    ttft.push(first - arrivedAt);
    e2e.push(last - arrivedAt);
    const gaps = [microseconds(first - arrivedAt)];
    for (let i = 1; i < tokenAt.length; i++) {
      const gap = (tokenAt[i] as number) - (tokenAt[i - 1] as number);
      tbt.push(gap);
      gaps.push(microseconds(gap));
    }
    const score = scoreFluidity(gaps, ttftUs, tbtUs);
    met += score.met;
    missed += score.missed;
    if (score.index >= 0.9) fluid++;
  }
  const seconds = ttft.length === 0 ? 0 : to - from;
  return {
    requests: requests.length,
    completed: ttft.length,
    ttft: quantilesOf(ttft),
    tbt: quantilesOf(tbt),
    e2e: quantilesOf(e2e),
    seconds,
    requestsPerSecond: seconds > 0 ? ttft.length / seconds : 0,
    outputTokensPerSecond: seconds > 0 ? tokens / seconds : 0,
    fluidity: {
      index: met + missed > 0 ? met / (met + missed) : 0,
      shareAbove90: requests.length > 0 ? fluid / requests.length : 0,
    },
  };
}
