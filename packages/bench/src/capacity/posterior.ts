/**
 * What verdicts of noisy probes say about a capacity: a posterior over a logarithmic grid of rates, together with how
 * often verdicts are wrong, which nobody knows beforehand (probabilistic bisection: Horstein 1963; Waeber, Frazier and
 * Henderson 2013, who assume the error rate known). One wrong verdict moves the estimate; it never closes a door.
 */
import { invariant } from "@millrace/core";

/** What is believed before the first probe. */
export interface CapacityPrior {
  /** Median of the capacity, requests per second. */
  readonly rateQps: number;
  /** Half of the mass is within a factor of 2^width of it: 2 for a guess in the dark, 0.2 for a prediction. */
  readonly width: number;
}

/** The range of capacities that is told apart. */
export interface RateRange {
  readonly minQps: number;
  readonly maxQps: number;
  /** Ratio of neighbouring rates - 1, e.g. 0.005. */
  readonly resolution: number;
}

/** Shares of wrong verdicts that are possible, with their prior mass: mostly few, now and then many. */
export const errorRates = [
  [0.002, 0.3],
  [0.02, 0.25],
  [0.06, 0.2],
  [0.12, 0.15],
  [0.2, 0.1],
] as const;

/** Mass of the prior that ignores the prediction, so that a wrong one is found out in a few probes. */
const UNBELIEVED = 0.1;
const UNBELIEVED_WIDTH = 2;
/** Verdicts become unreliable within about this share of the capacity: a run is no step function of its rate. */
const SOFTNESS = 0.006;

/** The posterior. Cells are rates; each also stands for the whole step to the next. O(cells) per verdict. */
export class CapacityPosterior {
  /** Rates of the cells, ascending. The first also stands for everything below, the last for everything above. */
  readonly ratesQps: Float64Array;
  /** Mass of each cell, all error rates together; sums to 1. */
  readonly mass: Float64Array;
  private readonly joint: readonly Float64Array[];
  private readonly step: number;
  /** Scratch: the probability that the SLO holds at the probe, per cell. */
  private readonly holds: Float64Array;

  constructor(prior: CapacityPrior, { minQps, maxQps, resolution }: RateRange) {
    invariant(0 < minQps && minQps < maxQps && resolution > 0, "a range of rates is empty");
    this.step = Math.log1p(resolution);
    const cells = Math.ceil(Math.log(maxQps / minQps) / this.step) + 1;
    this.ratesQps = Float64Array.from(
      { length: cells },
      (_, i) => minQps * Math.exp(i * this.step),
    );
    const shape = priorOf(this.ratesQps, prior);
    this.joint = errorRates.map(([, share]) => shape.map((p) => p * share));
    this.mass = new Float64Array(cells);
    this.holds = new Float64Array(cells);
    this.normalize();
  }

  /**
   * Takes in a verdict. `doubt` (0 … 0.5) is the probability that this one is wrong by what its own sample shows, beside
   * the errors that nothing shows.
   */
  update(rateQps: number, met: boolean, doubt = 0): void {
    const { ratesQps, holds } = this;
    for (let i = 0; i < holds.length; i++)
      holds[i] = 1 / (1 + (rateQps / (ratesQps[i] as number)) ** (1 / SOFTNESS));
    errorRates.forEach(([rate], e) => {
      const wrong = rate + doubt * (1 - 2 * rate);
      const row = this.joint[e] as Float64Array;
      for (let i = 0; i < row.length; i++) {
        const meets = wrong + (1 - 2 * wrong) * (holds[i] as number);
        row[i] = (row[i] as number) * (met ? meets : 1 - meets);
      }
    });
    this.normalize();
  }

  /** Rate below which the capacity lies with probability q, interpolated within a cell. */
  quantile(q: number): number {
    const { mass, ratesQps } = this;
    let sum = 0;
    for (let i = 0; i < mass.length; i++) {
      const m = mass[i] as number;
      if (sum + m >= q) {
        const inside = m === 0 ? 0 : (q - sum) / m - 0.5;
        return (ratesQps[i] as number) * Math.exp(inside * this.step);
      }
      sum += m;
    }
    return ratesQps[ratesQps.length - 1] as number;
  }

  /** Probability that the capacity is from `low` to `high`. */
  within(low: number, high: number): number {
    let sum = 0;
    for (let i = 0; i < this.mass.length; i++) {
      const rate = this.ratesQps[i] as number;
      if (rate >= low && rate <= high) sum += this.mass[i] as number;
    }
    return sum;
  }

  /** Expected share of wrong verdicts. */
  errorRate(): number {
    return errorRates.reduce(
      (sum, [rate], e) => sum + rate * (this.joint[e] as Float64Array).reduce((a, b) => a + b, 0),
      0,
    );
  }

  private normalize(): void {
    let total = 0;
    for (const row of this.joint) for (const p of row) total += p;
    this.mass.fill(0);
    for (const row of this.joint)
      for (let i = 0; i < row.length; i++) {
        row[i] = (row[i] as number) / total;
        this.mass[i] = (this.mass[i] as number) + (row[i] as number);
      }
  }
}

/**
 * Laplace over the logarithm of the rate. It has no memory, so that a probe that meets the SLO moves the median up by the
 * factor 2^width again and again: exponential bracketing falls out of bisection.
 */
function priorOf(rates: Float64Array, { rateQps, width }: CapacityPrior): Float64Array {
  const shape = (rate: number, w: number): number =>
    Math.exp(-Math.abs(Math.log(rate / rateQps)) / w) / w;
  const out = rates.map(
    (rate) => (1 - UNBELIEVED) * shape(rate, width) + UNBELIEVED * shape(rate, UNBELIEVED_WIDTH),
  );
  // The ends stand for all that is beyond them: the tails of the Laplace, one scale of it long.
  for (const i of [0, out.length - 1]) {
    const step = Math.log((rates[1] as number) / (rates[0] as number));
    out[i] = ((out[i] as number) * UNBELIEVED_WIDTH) / step;
  }
  return out;
}
