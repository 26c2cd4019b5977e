/** A distribution of token counts as a small table, fitted to a sample within a tolerance and sampled by inversion. */
import { invariant } from "@millrace/core";

/**
 * A distribution over whole numbers: a share `cdf[k]` of the values is at most `tokens[k]`, linear in between. Both
 * ascend; `cdf` runs from 0 to 1, so the values lie in tokens[0] + 1 … tokens[last]. Plain data.
 */
export interface LengthDistribution {
  /** Mean of the sample it was fitted to. */
  readonly mean: number;
  readonly tokens: readonly number[];
  readonly cdf: readonly number[];
}

/** How far a fitted table may be from the sample's distribution function. */
const TOLERANCE = 0.0015;
/** In the tails, as a share of the smaller side: keeps p99.9 and the mean. */
const TAIL_TOLERANCE = 0.05;

/**
 * Fits the table to ascending whole numbers >= 1: as few points of the sample's own distribution function as keep every
 * other point within the tolerance (Douglas and Peucker, vertical distance). O(n log n).
 */
export function fitLengths(sorted: Int32Array): LengthDistribution {
  const n = sorted.length;
  invariant(n > 0, "a distribution is fitted to no values");
  const x: number[] = [(sorted[0] as number) - 1];
  const y: number[] = [0];
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const value = sorted[i] as number;
    sum += value;
    if (i + 1 < n && sorted[i + 1] === value) continue;
    // The function is flat over values that do not occur: mark where it starts to rise again.
    if (value - 1 > (x[x.length - 1] as number)) {
      x.push(value - 1);
      y.push(y[y.length - 1] as number);
    }
    x.push(value);
    y.push((i + 1) / n);
  }
  const keep = thinOut(x, y, 1 / n);
  return {
    mean: sum / n,
    tokens: keep.map((i) => x[i] as number),
    cdf: keep.map((i) => Math.round((y[i] as number) * 1e6) / 1e6),
  };
}

function thinOut(x: readonly number[], y: readonly number[], floor: number): number[] {
  const last = x.length - 1;
  const kept = new Uint8Array(x.length);
  kept[0] = 1;
  kept[last] = 1;
  const open: [number, number][] = [[0, last]];
  for (let range = open.pop(); range !== undefined; range = open.pop()) {
    const [from, to] = range;
    const slope =
      ((y[to] as number) - (y[from] as number)) / ((x[to] as number) - (x[from] as number));
    let worst = 1;
    let at = -1;
    for (let i = from + 1; i < to; i++) {
      const here = y[i] as number;
      const line = (y[from] as number) + slope * ((x[i] as number) - (x[from] as number));
      const tolerance = Math.max(
        floor,
        Math.min(TOLERANCE, TAIL_TOLERANCE * Math.min(here, 1 - here)),
      );
      const error = Math.abs(here - line) / tolerance;
      if (error > worst) {
        worst = error;
        at = i;
      }
    }
    if (at < 0) continue;
    kept[at] = 1;
    open.push([from, at], [at, to]);
  }
  const out: number[] = [];
  for (let i = 0; i <= last; i++) if (kept[i] === 1) out.push(i);
  return out;
}

/** Buckets of the look-up that starts the search of an inversion. */
const BUCKETS = 1024;

/** Inverts a distribution in constant time on average. */
export class LengthInverse {
  private readonly tokens: Float64Array;
  private readonly cdf: Float64Array;
  private readonly first = new Uint16Array(BUCKETS);

  constructor(table: LengthDistribution) {
    this.tokens = Float64Array.from(table.tokens);
    this.cdf = Float64Array.from(table.cdf);
    let k = 0;
    for (let b = 0; b < BUCKETS; b++) {
      while (k + 2 < this.cdf.length && (this.cdf[k + 1] as number) <= b / BUCKETS) k++;
      this.first[b] = k;
    }
  }

  /** The value at rank u in [0, 1). */
  at(u: number): number {
    const { cdf, tokens } = this;
    let k = this.first[(u * BUCKETS) | 0] as number;
    while (k + 2 < cdf.length && (cdf[k + 1] as number) <= u) k++;
    const low = cdf[k] as number;
    const rise = (cdf[k + 1] as number) - low;
    const from = tokens[k] as number;
    const to = tokens[k + 1] as number;
    const value = Math.floor(from + ((u - low) / rise) * (to - from)) + 1;
    return value < to ? value : to;
  }
}
