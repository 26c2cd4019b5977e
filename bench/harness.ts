/** What benches share: CPU time, medians, one JSON line per figure for tools/bench.mjs. */

/** CPU milliseconds (user + system) of `f`. */
export function cpuMs(f: () => void): number {
  const before = process.cpuUsage();
  f();
  const spent = process.cpuUsage(before);
  return (spent.user + spent.system) / 1e3;
}

/** Median of the values; throws when there are none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[sorted.length >> 1];
  if (middle === undefined) throw new Error("no values");
  return middle;
}

/** Prints one figure; `bar` is the most it should be. */
export function report(name: string, value: number, unit: string, bar?: number): void {
  console.log(
    JSON.stringify(bar === undefined ? { name, value, unit } : { name, value, unit, bar }),
  );
}

/** Least-squares line through (x, y): value = base + slope x. */
export function line(points: readonly (readonly [number, number])[]): {
  base: number;
  slope: number;
} {
  const n = points.length;
  const mx = points.reduce((a, p) => a + p[0], 0) / n;
  const my = points.reduce((a, p) => a + p[1], 0) / n;
  const slope =
    points.reduce((a, p) => a + (p[0] - mx) * (p[1] - my), 0) /
    points.reduce((a, p) => a + (p[0] - mx) ** 2, 0);
  return { base: my - slope * mx, slope };
}
