/** Fluidity against the rate: what all probes of a search say together, as a curve that never rises, with its band. */
import type { CapacityProbe } from "./report.ts";

export interface CurvePoint {
  readonly rateQps: number;
  /** Fluidity-index and its 90 % band. */
  readonly index: number;
  readonly low: number;
  readonly high: number;
  /** Share of requests whose own index is at least 0.9. */
  readonly fluidRequests: number;
  /** Probes at this rate. */
  readonly probes: number;
}

/**
 * The curve over valid probes by rate, each weighted by its requests. More load never makes streams smoother, so
 * neighbours that say so are pooled (pool adjacent violators), and so are the ends of their bands. O(n log n).
 */
export function fluidityCurve(probes: readonly CapacityProbe[]): readonly CurvePoint[] {
  const valid = probes
    .filter((p) => p.outcome !== "invalid" && Number.isFinite(p.fluidity.index))
    .sort((a, b) => a.rateQps - b.rateQps);
  const rates = [...new Set(valid.map((p) => p.rateQps))];
  const points = rates.map((rateQps) => {
    const own = valid.filter((p) => p.rateQps === rateQps);
    const weight = own.reduce((sum, p) => sum + p.requests, 0);
    const mean = (of: (probe: CapacityProbe) => number): number =>
      own.reduce((sum, p) => sum + of(p) * p.requests, 0) / weight;
    // Probes at one rate are independent: their errors shrink together.
    const shrink = Math.sqrt(own.length);
    const index = mean((p) => p.fluidity.index);
    return {
      rateQps,
      weight,
      index,
      low: index - mean((p) => p.fluidity.index - p.fluidity.low) / shrink,
      high: index + mean((p) => p.fluidity.high - p.fluidity.index) / shrink,
      fluidRequests: mean((p) => p.fluidRequests),
      probes: own.length,
    };
  });
  const weights = points.map((p) => p.weight);
  const falling = (of: (point: (typeof points)[number]) => number): number[] =>
    neverRising(points.map(of), weights);
  const index = falling((p) => p.index);
  const low = falling((p) => p.low);
  const high = falling((p) => p.high);
  const fluid = falling((p) => p.fluidRequests);
  return points.map(({ rateQps, probes: n }, i) => ({
    rateQps,
    index: index[i] as number,
    low: low[i] as number,
    high: high[i] as number,
    fluidRequests: fluid[i] as number,
    probes: n,
  }));
}

/** The sequence nearest to `values` by weighted least squares that never rises. */
export function neverRising(values: readonly number[], weights: readonly number[]): number[] {
  const pools: { value: number; weight: number; n: number }[] = [];
  values.forEach((value, i) => {
    let pool = { value, weight: weights[i] as number, n: 1 };
    for (let last = pools.at(-1); last !== undefined && last.value < pool.value; ) {
      pools.pop();
      const weight = last.weight + pool.weight;
      pool = {
        value: (last.value * last.weight + pool.value * pool.weight) / weight,
        weight,
        n: last.n + pool.n,
      };
      last = pools.at(-1);
    }
    pools.push(pool);
  });
  return pools.flatMap(({ value, n }) => Array.from({ length: n }, () => value));
}
