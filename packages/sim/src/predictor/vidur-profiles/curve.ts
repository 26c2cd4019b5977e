/** Smoothed interpolation of profiles: medians of repeats, failed measurements left out, straight lines between. */
import { median } from "@millrace/core";

export interface CurvePoint {
  readonly x: number;
  readonly y: number;
}

/** Points on each side that judge a point, and the factor by which it may leave their median. */
const NEIGHBOURS = 4;
const TOLERANCE = 3;

/** Points by ascending x with medians of equal x; those of 0 or NaN, below `floor`, or far off their neighbours are dropped. */
export function cleanCurve(
  points: readonly CurvePoint[],
  floor: (x: number) => number,
): { readonly points: readonly CurvePoint[]; readonly dropped: number } {
  const byX = new Map<number, number[]>();
  let dropped = 0;
  for (const { x, y } of points) {
    if (Number.isNaN(y)) continue;
    if (y <= 0 || y < floor(x)) {
      dropped++;
      continue;
    }
    const same = byX.get(x);
    if (same === undefined) byX.set(x, [y]);
    else same.push(y);
  }
  const merged = [...byX].map(([x, ys]) => ({ x, y: median(ys) })).sort((a, b) => a.x - b.x);
  const kept = merged.filter(({ y }, i) => {
    const around = merged.slice(Math.max(0, i - NEIGHBOURS), i + NEIGHBOURS + 1).map((p) => p.y);
    const middle = median(around);
    return y < middle * TOLERANCE && y > middle / TOLERANCE;
  });
  return { points: kept, dropped: dropped + merged.length - kept.length };
}

/** Value at x: straight lines between points, the first value below them, the last slope (at least 0) above. */
export function interpolate(points: readonly CurvePoint[], x: number): number {
  const last = points.length - 1;
  const first = points[0] as CurvePoint;
  const end = points[last] as CurvePoint;
  if (last === 0 || x <= first.x) return first.y;
  if (x >= end.x) {
    const middle = points[last >> 1] as CurvePoint;
    const slope = end.x > middle.x ? (end.y - middle.y) / (end.x - middle.x) : 0;
    return end.y + Math.max(slope, 0) * (x - end.x);
  }
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const at = (low + high) >> 1;
    if ((points[at] as CurvePoint).x <= x) low = at;
    else high = at;
  }
  const a = points[low] as CurvePoint;
  const b = points[high] as CurvePoint;
  return a.y + ((b.y - a.y) * (x - a.x)) / (b.x - a.x);
}
