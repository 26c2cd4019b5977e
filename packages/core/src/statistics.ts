/** Small statistics on plain numbers. Quantiles interpolate linearly between ranks, numpy's default. */

/** Figures of a sample; all NaN when n = 0. */
export interface Summary {
  readonly n: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
  readonly min: number;
}

/** A list of numbers, not changed by these functions. */
export type Numbers = Float64Array | readonly number[];

/** Summary of the values; NaN values are left out of it unless skipNaN is false (then they make every figure NaN). O(n log n). */
export function summarize(values: Numbers, skipNaN = true): Summary {
  const sorted = Float64Array.from(values);
  let n = 0;
  for (let i = 0; i < sorted.length; i++) {
    const v = sorted[i] as number;
    if (!Number.isNaN(v) || !skipNaN) sorted[n++] = v;
  }
  const kept = sorted.subarray(0, n).sort();
  // Sorting puts NaN last, so one look tells whether there is any.
  const bad = n === 0 || Number.isNaN(kept[n - 1]);
  const at = (q: number): number => (bad ? Number.NaN : quantileSorted(kept, q));
  return {
    n,
    mean: mean(kept),
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    max: at(1),
    min: at(0),
  };
}

/** Quantile q in [0, 1] of ascending values, interpolated between ranks; NaN when empty. */
export function quantileSorted(sorted: Numbers, q: number): number {
  const n = sorted.length;
  if (n === 0) return Number.NaN;
  const rank = Math.min(Math.max(q, 0), 1) * (n - 1);
  const below = Math.floor(rank);
  const low = sorted[below] as number;
  const high = sorted[Math.min(below + 1, n - 1)] as number;
  return low === high ? low : low + (high - low) * (rank - below);
}

/** Arithmetic mean, NaN when empty. Compensated (Neumaier), so that long runs of small values are not lost. */
export function mean(values: Numbers): number {
  let sum = 0;
  let lost = 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    const next = sum + v;
    lost += Math.abs(sum) >= Math.abs(v) ? sum - next + v : v - next + sum;
    sum = next;
  }
  return (Number.isFinite(sum) ? sum + lost : sum) / values.length;
}

/** Sample variance (divided by n - 1); NaN when n < 2. */
export function variance(values: Numbers): number {
  const n = values.length;
  if (n < 2) return Number.NaN;
  const center = mean(values);
  let sum = 0;
  for (let i = 0; i < n; i++) sum += ((values[i] as number) - center) ** 2;
  return sum / (n - 1);
}

/** Median, NaN when empty. */
export function median(values: Numbers): number {
  return quantileSorted(Float64Array.from(values).sort(), 0.5);
}

/** Median distance from the median; times 1.4826 it estimates the standard deviation of a normal sample. */
export function medianAbsoluteDeviation(values: Numbers): number {
  const center = median(values);
  return median(Float64Array.from(values, (v) => Math.abs(v - center)));
}

/** Rank correlation in [-1, 1]; ties get their average rank. NaN when either list is constant or shorter than 2. */
export function spearman(a: Numbers, b: Numbers): number {
  const x = ranks(a);
  const y = ranks(b);
  const n = Math.min(x.length, y.length);
  const center = (n - 1) / 2;
  let xy = 0;
  let xx = 0;
  let yy = 0;
  for (let i = 0; i < n; i++) {
    const dx = (x[i] as number) - center;
    const dy = (y[i] as number) - center;
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  }
  return n < 2 || xx === 0 || yy === 0 ? Number.NaN : xy / Math.sqrt(xx * yy);
}

/** Rank of each value, from 0; equal values share the mean of their ranks. */
function ranks(values: Numbers): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i);
  order.sort((i, j) => (values[i] as number) - (values[j] as number));
  const out = new Float64Array(values.length);
  let from = 0;
  while (from < order.length) {
    let to = from;
    const value = values[order[from] as number];
    while (to + 1 < order.length && values[order[to + 1] as number] === value) to++;
    for (let i = from; i <= to; i++) out[order[i] as number] = (from + to) / 2;
    from = to + 1;
  }
  return out;
}

/** Largest distance between the distribution functions of two ascending samples, 0 … 1; NaN when either is empty. */
export function kolmogorovSmirnov(sortedA: Numbers, sortedB: Numbers): number {
  const n = sortedA.length;
  const m = sortedB.length;
  if (n === 0 || m === 0) return Number.NaN;
  let i = 0;
  let j = 0;
  let largest = 0;
  while (i < n && j < m) {
    const value = Math.min(sortedA[i] as number, sortedB[j] as number);
    while (i < n && (sortedA[i] as number) <= value) i++;
    while (j < m && (sortedB[j] as number) <= value) j++;
    largest = Math.max(largest, Math.abs(i / n - j / m));
  }
  return largest;
}
