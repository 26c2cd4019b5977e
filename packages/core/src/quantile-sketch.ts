/** A quantile sketch with a relative error bound: logarithmic bins, the idea of DDSketch (Masson, Rim, Lee, VLDB 2019). */
import { invariant } from "./errors.ts";

/**
 * Counts values in bins (gamma^(i-1), gamma^i]. A quantile is within (gamma - 1) / (gamma + 1) of the sample of that
 * rank, 0.1 % by default; count, sum, min and max are exact. Values at or below zero share one bin that reads as 0.
 * Memory is 8 bytes per bin between the smallest and largest positive value: 9 kB per decade by default.
 */
export class QuantileSketch {
  readonly gamma: number;
  /** Values are added in units of 1 / perUnit and read in whole units: 1e6 = added as microseconds, read as seconds. */
  readonly perUnit: number;
  private readonly perLog: number;
  private bins = new Float64Array(0);
  /** Bin index of bins[0]. */
  private low = 0;
  private zeros = 0;
  private n = 0;
  private total = 0;
  private smallest = Number.POSITIVE_INFINITY;
  private largest = Number.NEGATIVE_INFINITY;
  private lastValue = Number.NaN;
  private lastAt = 0;

  constructor(gamma = 1.002, perUnit = 1) {
    invariant(gamma > 1 && gamma <= 2, `gamma ${gamma} is not above 1 and at most 2`);
    this.gamma = gamma;
    this.perUnit = perUnit;
    this.perLog = 1 / Math.log(gamma);
  }

  /** Values added, weights counted. */
  get count(): number {
    return this.n;
  }

  get sum(): number {
    return this.total / this.perUnit;
  }

  /** NaN when empty, like min and max. */
  get mean(): number {
    return this.total / this.n / this.perUnit;
  }

  get min(): number {
    return this.n === 0 ? Number.NaN : this.smallest / this.perUnit;
  }

  get max(): number {
    return this.n === 0 ? Number.NaN : this.largest / this.perUnit;
  }

  /** Adds a finite value `weight` times (a positive integer). O(1), allocates only when the range of bins grows. */
  add(value: number, weight = 1): void {
    if (value === this.lastValue) this.bins[this.lastAt]! += weight;
    else if (value > 0) {
      const bin = Math.ceil(Math.log(value) * this.perLog);
      let at = bin - this.low;
      if (!(at >= 0 && at < this.bins.length)) at = this.reach(bin, value);
      this.bins[at]! += weight;
      this.lastValue = value;
      this.lastAt = at;
      if (value < this.smallest) this.smallest = value;
      if (value > this.largest) this.largest = value;
    } else {
      if (!(value > Number.NEGATIVE_INFINITY)) invariant(false, `cannot add ${value} to a sketch`);
      this.zeros += weight;
      if (value < this.smallest) this.smallest = value;
      if (value > this.largest) this.largest = value;
    }
    this.n += weight;
    this.total += value * weight;
  }

  /** The value of rank q (count - 1), rounded down; q in [0, 1], exact at both ends. NaN when empty. O(bins). */
  quantile(q: number): number {
    if (this.n === 0) return Number.NaN;
    if (q <= 0) return this.min;
    if (q >= 1) return this.max;
    const rank = Math.floor(q * (this.n - 1));
    let seen = this.zeros;
    if (rank < seen) return this.within(0);
    for (let i = 0; i < this.bins.length; i++) {
      seen += this.bins[i]!;
      if (rank < seen) return this.within(this.middle(i));
    }
    return this.max;
  }

  /** The quantiles i / (n - 1) for i = 0 … n - 1 in one pass; the median for n = 1. */
  quantiles(n: number): Float64Array {
    const out = new Float64Array(n);
    if (n === 1) out[0] = this.quantile(0.5);
    if (n <= 1) return out;
    if (this.n === 0) return out.fill(Number.NaN);
    let seen = this.zeros;
    let bin = -1;
    for (let k = 1; k < n - 1; k++) {
      const rank = Math.floor((k / (n - 1)) * (this.n - 1));
      while (rank >= seen && bin < this.bins.length - 1) seen += this.bins[++bin]!;
      out[k] = this.within(bin < 0 ? 0 : this.middle(bin));
    }
    out[0] = this.min;
    out[n - 1] = this.max;
    return out;
  }

  /** Share of the values in bins at or below the bin of `limit`: the distribution function within the error bound. */
  shareAtMost(limit: number): number {
    const value = limit * this.perUnit;
    if (this.n === 0) return Number.NaN;
    if (value >= this.largest) return 1;
    if (value < this.smallest) return 0;
    let seen = this.zeros;
    if (value > 0) {
      const end = Math.ceil(Math.log(value) * this.perLog) - this.low;
      for (let i = 0; i <= end && i < this.bins.length; i++) seen += this.bins[i]!;
    }
    return seen / this.n;
  }

  /** Adds all values of a sketch with the same gamma. */
  merge(other: QuantileSketch): void {
    invariant(other.gamma === this.gamma, `sketches of gamma ${this.gamma} and ${other.gamma}`);
    invariant(
      other.perUnit === this.perUnit,
      `sketches of ${this.perUnit} and ${other.perUnit} per unit`,
    );
    if (other.bins.length > 0) {
      this.reach(other.low, 1);
      this.reach(other.low + other.bins.length - 1, 1);
      const shift = other.low - this.low;
      for (let i = 0; i < other.bins.length; i++) this.bins[i + shift]! += other.bins[i]!;
    }
    this.zeros += other.zeros;
    this.n += other.n;
    this.total += other.total;
    this.smallest = Math.min(this.smallest, other.smallest);
    this.largest = Math.max(this.largest, other.largest);
  }

  /** The value with equal relative distance to both edges of its bin. */
  private middle(at: number): number {
    return (2 * this.gamma ** (at + this.low)) / (this.gamma + 1);
  }

  private within(value: number): number {
    return Math.min(Math.max(value, this.smallest), this.largest) / this.perUnit;
  }

  /** Grows the bins to include `bin`, with room to spare on that side, and returns its place in the array. */
  private reach(bin: number, value: number): number {
    invariant(value < Number.POSITIVE_INFINITY, `cannot add ${value} to a sketch`);
    const high = this.low + this.bins.length;
    if (this.bins.length > 0 && bin >= this.low && bin < high) return bin - this.low;
    const spare = Math.max(64, this.bins.length >> 1);
    const empty = this.bins.length === 0;
    const from = empty || bin < this.low ? bin - spare : this.low;
    const to = empty || bin >= high ? bin + spare : high;
    const bins = new Float64Array(to - from);
    if (!empty) bins.set(this.bins, this.low - from);
    this.bins = bins;
    this.low = from;
    this.lastValue = Number.NaN;
    return bin - from;
  }
}
