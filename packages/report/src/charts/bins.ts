/** Intervals with a value each (batches, for instance) as a fixed number of bins over time. */

/** Values that hold over intervals; intervals may overlap (several replicas) and leave gaps. */
export interface Spans {
  readonly count: number;
  readonly startsAt: ArrayLike<number>;
  readonly endsAt: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

/** A bin: middle of its time, time-weighted mean, and the extremes seen in it; NaN where no interval lies. */
export interface Bin {
  readonly at: number;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** First start and last end; null when no interval is finite. */
export function spanRange(spans: Omit<Spans, "values">): { from: number; to: number } | null {
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < spans.count; i++) {
    const start = spans.startsAt[i] ?? Number.NaN;
    const end = spans.endsAt[i] ?? Number.NaN;
    if (!Number.isFinite(start) || !Number.isFinite(end)) continue;
    if (start < from) from = start;
    if (end > to) to = end;
  }
  return from <= to ? { from, to } : null;
}

/**
 * Bins of equal width over [from, to]. The extremes of every interval that touches a bin are in that bin, so the largest
 * and smallest value of the input are always drawn. Cost: one pass, plus one step per bin that an interval spans.
 */
export function binSpans(spans: Spans, from: number, to: number, bins: number): Bin[] {
  const width = (to - from) / bins;
  const weight = new Float64Array(bins);
  const sum = new Float64Array(bins);
  const low = new Float64Array(bins).fill(Number.POSITIVE_INFINITY);
  const high = new Float64Array(bins).fill(Number.NEGATIVE_INFINITY);
  for (let i = 0; i < spans.count; i++) {
    const start = spans.startsAt[i] ?? Number.NaN;
    const end = spans.endsAt[i] ?? Number.NaN;
    const value = spans.values[i] ?? Number.NaN;
    if (!Number.isFinite(start) || !Number.isFinite(end) || !Number.isFinite(value)) continue;
    if (end < from || start > to) continue;
    const first = clampBin(width > 0 ? Math.floor((start - from) / width) : 0, bins);
    const last = Math.max(
      first,
      clampBin(width > 0 ? Math.ceil((end - from) / width) - 1 : 0, bins),
    );
    for (let b = first; b <= last; b++) {
      const overlap = Math.min(end, from + (b + 1) * width) - Math.max(start, from + b * width);
      // An interval without length still counts, a little, so that a bin with nothing else has a mean.
      const w = Math.max(overlap, 1e-12);
      weight[b] = (weight[b] ?? 0) + w;
      sum[b] = (sum[b] ?? 0) + w * value;
      low[b] = Math.min(low[b] ?? 0, value);
      high[b] = Math.max(high[b] ?? 0, value);
    }
  }
  return Array.from(weight, (w, b) => ({
    at: from + (b + 0.5) * width,
    mean: w > 0 ? (sum[b] ?? 0) / w : Number.NaN,
    low: w > 0 ? (low[b] ?? 0) : Number.NaN,
    high: w > 0 ? (high[b] ?? 0) : Number.NaN,
  }));
}

function clampBin(bin: number, bins: number): number {
  return Math.max(0, Math.min(bins - 1, bin));
}
