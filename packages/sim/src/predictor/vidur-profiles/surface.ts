/** Residuals of a fitted law over scattered points of the plane, interpolated from the nearest ones. */

const NEAREST = 4;
/** Squared distance below which a point decides alone; keeps weights finite. */
const SAME = 1e-9;

/** ln(measured / law) at any (x, y): the four nearest points by inverse squared distance. O(points) per query. */
export class ResidualSurface {
  private readonly xs: Float64Array;
  private readonly ys: Float64Array;
  private readonly values: Float64Array;
  private readonly nearest = new Int32Array(NEAREST);
  private readonly distances = new Float64Array(NEAREST);

  constructor(
    points: readonly { readonly x: number; readonly y: number; readonly value: number }[],
  ) {
    this.xs = Float64Array.from(points, (p) => p.x);
    this.ys = Float64Array.from(points, (p) => p.y);
    this.values = Float64Array.from(points, (p) => p.value);
  }

  at(x: number, y: number): number {
    const { xs, ys, nearest, distances } = this;
    distances.fill(Number.POSITIVE_INFINITY);
    for (let i = 0; i < xs.length; i++) {
      const dx = xs[i]! - x;
      const dy = ys[i]! - y;
      const d = dx * dx + dy * dy;
      if (d >= distances[NEAREST - 1]!) continue;
      let k = NEAREST - 1;
      for (; k > 0 && d < distances[k - 1]!; k--) {
        distances[k] = distances[k - 1]!;
        nearest[k] = nearest[k - 1]!;
      }
      distances[k] = d;
      nearest[k] = i;
    }
    let sum = 0;
    let total = 0;
    for (let k = 0; k < NEAREST; k++) {
      if (distances[k] === Number.POSITIVE_INFINITY) break;
      const weight = 1 / (distances[k]! + SAME);
      sum += weight * this.values[nearest[k]!]!;
      total += weight;
    }
    return total === 0 ? 0 : sum / total;
  }
}
