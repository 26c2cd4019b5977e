/** Time of a matrix product on an accelerator: a smooth roofline and a table of residuals of profiled shapes. */

/** Coefficients of a smooth roofline, all dimensionless but the overhead. */
export interface GemmCoefficients {
  /** Seconds per kernel. */
  readonly overhead: number;
  /** Share of the tensor peak reached by large products. */
  readonly efficiency: number;
  /** Share of the memory bandwidth; above 1 where the cache helps. */
  readonly bandwidthEfficiency: number;
  /** Rows that a product of few rows wastes: compute time grows by 1 + fill / M. */
  readonly fill: number;
  /** Exponent that joins the two roofs; infinity = the larger of them. */
  readonly sharpness: number;
}

/** Peaks that a device offers to one kind of product. */
export interface Peaks {
  /** Operations per second. */
  readonly flops: number;
  /** Bytes per second. */
  readonly bandwidth: number;
}

/** Measured over predicted, at some row counts of some shapes. */
export interface Residuals {
  /** Row counts, ascending. */
  readonly knots: readonly number[];
  /** Profiled shapes with the deviation at each knot in percent of the prediction. */
  readonly shapes: readonly {
    readonly k: number;
    readonly n: number;
    readonly percent: readonly number[];
  }[];
}

const ACTIVATION_BYTES = 2;

/** Seconds of a product [m, k] x [k, n] whose weights take `weightBytes` per element in all. */
export function gemmSeconds(
  c: GemmCoefficients,
  peaks: Peaks,
  m: number,
  k: number,
  n: number,
  weightBytes: number,
): number {
  const compute = ((2 * m * k * n) / (peaks.flops * c.efficiency)) * (1 + c.fill / m);
  const bytes = k * n * weightBytes + ACTIVATION_BYTES * m * (k + n);
  return (
    c.overhead +
    smoothMaximum(compute, bytes / (peaks.bandwidth * c.bandwidthEfficiency), c.sharpness)
  );
}

/** (a^q + b^q)^(1/q) without overflow; a, b >= 0. */
export function smoothMaximum(a: number, b: number, q: number): number {
  const high = a > b ? a : b;
  const low = a > b ? b : a;
  return low === 0 ? high : high * (1 + (low / high) ** q) ** (1 / q);
}

/** Neighbours that a shape which was not profiled borrows from, and how far they reach in units of ln K and ln N. */
const NEIGHBOURS = 4;
const REACH = 0.7;

/** Correction factors by row count for one shape: its own residuals when profiled, else its neighbours', fading with distance. */
export class ResidualCurve {
  private readonly logKnots: Float64Array;
  private readonly logFactors: Float64Array;

  constructor(residuals: Residuals, k: number, n: number) {
    this.logKnots = Float64Array.from(residuals.knots, Math.log);
    this.logFactors = new Float64Array(residuals.knots.length);
    const near = residuals.shapes
      .map((shape) => ({
        shape,
        distance: Math.hypot(Math.log(shape.k / k), Math.log(shape.n / n)),
      }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, NEIGHBOURS);
    const own = near[0] !== undefined && near[0].distance < 1e-9;
    let total = own ? 0 : 1;
    for (const { shape, distance } of own ? near.slice(0, 1) : near) {
      const weight = own ? 1 : Math.exp(-((distance / REACH) ** 2));
      total += weight;
      shape.percent.forEach((percent, i) => {
        this.logFactors[i] = (this.logFactors[i] as number) + weight * Math.log1p(percent / 100);
      });
    }
    for (let i = 0; i < this.logFactors.length; i++)
      this.logFactors[i] = (this.logFactors[i] as number) / total;
  }

  /** Factor at `m` rows, interpolated in ln m, constant outside the knots. */
  factor(m: number): number {
    const x = Math.log(m);
    const { logKnots, logFactors } = this;
    const last = logKnots.length - 1;
    if (last < 0) return 1;
    if (x <= (logKnots[0] as number)) return Math.exp(logFactors[0] as number);
    if (x >= (logKnots[last] as number)) return Math.exp(logFactors[last] as number);
    let low = 0;
    let high = last;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((logKnots[middle] as number) <= x) low = middle;
      else high = middle;
    }
    const from = logKnots[low] as number;
    const share = (x - from) / ((logKnots[high] as number) - from);
    return Math.exp(
      (1 - share) * (logFactors[low] as number) + share * (logFactors[high] as number),
    );
  }
}
