/** Fewer points with the same picture: what a chart drops must not be visible, and extremes are never dropped. */

/**
 * Indices to draw of a line whose x does not decrease: first, lowest, highest and last point of each of `buckets` equal
 * columns of x (M4, Jugel et al., VLDB 2014). Points with a number that is not finite are left out. Order is kept;
 * at most 4 x buckets indices. Cost: one pass.
 */
export function decimateLine(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  buckets: number,
): number[] {
  const usable: number[] = [];
  const count = Math.min(x.length, y.length);
  for (let i = 0; i < count; i++)
    if (Number.isFinite(x[i]) && Number.isFinite(y[i])) usable.push(i);
  if (usable.length <= buckets * 4) return usable;
  const from = x[usable[0] ?? 0] ?? 0;
  const span = (x[usable[usable.length - 1] ?? 0] ?? 0) - from;
  const kept: number[] = [];
  let bucket = -1;
  let first = 0;
  let last = 0;
  let low = 0;
  let high = 0;
  const flush = (): void => {
    if (bucket < 0) return;
    for (const i of [...new Set([first, low, high, last])].sort((a, b) => a - b)) kept.push(i);
  };
  for (const i of usable) {
    const share = span > 0 ? ((x[i] ?? 0) - from) / span : 0;
    const b = Math.min(buckets - 1, Math.floor(share * buckets));
    if (b !== bucket) {
      flush();
      bucket = b;
      first = low = high = i;
    }
    last = i;
    if ((y[i] ?? 0) < (y[low] ?? 0)) low = i;
    if ((y[i] ?? 0) > (y[high] ?? 0)) high = i;
  }
  flush();
  return kept;
}

/** Something with a place in a scatter chart. */
export interface Placed {
  readonly x: number;
  readonly y: number;
}

/**
 * Points to draw of a cloud: one per cell of a `columns` x `rows` grid and group, plus every point that `keep` names and
 * the extremes of x and y. Points with a number that is not finite are left out. Order is kept.
 */
export function decimateCloud<P extends Placed>(
  points: readonly P[],
  group: (point: P) => string,
  keep: (point: P) => boolean,
  columns = 160,
  rows = 100,
): P[] {
  const usable = points.filter((p) => Number.isFinite(p.x) && Number.isFinite(p.y));
  const extremes = new Set<P>();
  let [left, right, bottom, top] = [usable[0], usable[0], usable[0], usable[0]];
  for (const p of usable) {
    if (left === undefined || p.x < left.x) left = p;
    if (right === undefined || p.x > right.x) right = p;
    if (bottom === undefined || p.y < bottom.y) bottom = p;
    if (top === undefined || p.y > top.y) top = p;
  }
  if (!left || !right || !bottom || !top) return [];
  for (const p of [left, right, bottom, top]) extremes.add(p);
  const cell = (p: P): string =>
    `${place(p.x, left.x, right.x, columns)} ${place(p.y, bottom.y, top.y, rows)} ${group(p)}`;
  const taken = new Set<string>();
  return usable.filter((p) => {
    const key = cell(p);
    const seen = taken.has(key);
    taken.add(key);
    return !seen || extremes.has(p) || keep(p);
  });
}

function place(value: number, low: number, high: number, cells: number): number {
  return high > low ? Math.floor(((value - low) / (high - low)) * (cells - 1)) : 0;
}
