/** Fits the coefficients of the roofline predictor to profiled points. Errors are relative, so small and large count alike. */
import { median } from "@millrace/core";
import { type FitError, fitError } from "@millrace/serving";
import {
  type GemmCoefficients,
  gemmSeconds,
  type Peaks,
  ResidualCurve,
  type Residuals,
} from "./gemm.ts";
import { nelderMead } from "./nelder-mead.ts";

/** A measured matrix product. `group` is what is left out together when errors are held out. */
export interface GemmPoint {
  readonly group: string;
  readonly operator: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly seconds: number;
}

/** A measured operator that moves `bytes` (element-wise, collective): time is overhead + bytes / rate. */
export interface BytePoint {
  readonly bytes: number;
  readonly seconds: number;
}

const WEIGHT_BYTES = 2;

/** Row counts at which residuals are kept. */
export const residualKnots: readonly number[] = [
  1, 8, 16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536,
  1792, 2048, 2560, 3072, 4096, 6144, 8192,
];

/** Fits the five coefficients by least mean |ln(predicted / measured)|. A second or so for ten thousand points. */
export function fitGemm(points: readonly GemmPoint[], peaks: Peaks): GemmCoefficients {
  const decode = (x: readonly number[]): GemmCoefficients => ({
    overhead: Math.exp(x[0] as number),
    efficiency: Math.exp(x[1] as number),
    bandwidthEfficiency: Math.exp(x[2] as number),
    fill: Math.exp(x[3] as number),
    sharpness: 1 + Math.exp(x[4] as number),
  });
  const loss = (x: readonly number[]): number => {
    const c = decode(x);
    let sum = 0;
    for (const p of points)
      sum += Math.abs(Math.log(gemmSeconds(c, peaks, p.m, p.k, p.n, WEIGHT_BYTES) / p.seconds));
    return sum / points.length;
  };
  let best = {
    x: [-12, -0.3, -0.2, 3.5, 0.5] as readonly number[],
    value: Number.POSITIVE_INFINITY,
  };
  for (const fill of [2, 4.5]) {
    const found = nelderMead(loss, [-12, -0.3, -0.2, fill, 0.5], 0.5);
    const polished = nelderMead(loss, found.x, 0.1);
    if (polished.value < best.value) best = polished;
  }
  return decode(best.x);
}

/** Median deviation from the fit around each knot, by shape. */
export function residualsOf(
  points: readonly GemmPoint[],
  c: GemmCoefficients,
  peaks: Peaks,
): Residuals {
  const most = points.reduce((high, p) => Math.max(high, p.m), 0);
  const knots = residualKnots.filter((knot) => knot <= most);
  const byShape = groupBy(points, (p) => `${p.k}x${p.n}`);
  const shapes = [...byShape.values()].map((ofShape) => {
    const { k, n } = ofShape[0] as GemmPoint;
    const ratios = ofShape.map((p) => ({
      m: p.m,
      ratio: p.seconds / gemmSeconds(c, peaks, p.m, k, n, WEIGHT_BYTES),
    }));
    const percent = knots.map((knot, i) => {
      const from = Math.sqrt(knot * (knots[i - 1] ?? knot));
      const to = Math.sqrt(knot * (knots[i + 1] ?? knot));
      const near = ratios.filter(({ m }) => m >= from && m <= to).map(({ ratio }) => ratio);
      return near.length === 0 ? 0 : Math.round((median(near) - 1) * 100);
    });
    return { k, n, percent };
  });
  shapes.sort((a, b) => a.k - b.k || a.n - b.n);
  return { knots, shapes };
}

/** Seconds predicted for each point with residuals of `residuals` on top of the fit. */
export function predictGemm(
  points: readonly GemmPoint[],
  c: GemmCoefficients,
  peaks: Peaks,
  residuals: Residuals | null,
): Float64Array {
  const curves = new Map<string, ResidualCurve>();
  return Float64Array.from(points, (p) => {
    const seconds = gemmSeconds(c, peaks, p.m, p.k, p.n, WEIGHT_BYTES);
    if (residuals === null) return seconds;
    const key = `${p.k}x${p.n}`;
    let curve = curves.get(key);
    if (curve === undefined) {
      curve = new ResidualCurve(residuals, p.k, p.n);
      curves.set(key, curve);
    }
    return seconds * curve.factor(p.m);
  });
}

/** Errors with each group predicted from a fit and residuals that never saw it: per product, and per sum of a layer's products. */
export function heldOutGemm(
  points: readonly GemmPoint[],
  peaks: Peaks,
  withResiduals: boolean,
): { readonly operator: FitError; readonly layer: FitError } {
  const perOperator: number[] = [];
  const perLayer: number[] = [];
  const groups = groupBy(points, (p) => p.group);
  for (const [group, held] of groups) {
    const shapes = new Set(held.map((p) => `${p.k}x${p.n}`));
    const rest = points.filter((p) => p.group !== group && !shapes.has(`${p.k}x${p.n}`));
    if (rest.length === 0) continue;
    const c = fitGemm(rest, peaks);
    const residuals = withResiduals ? residualsOf(rest, c, peaks) : null;
    const predicted = predictGemm(held, c, peaks, residuals);
    const layers = new Map<number, { predicted: number; measured: number }>();
    held.forEach((p, i) => {
      const seconds = predicted[i] as number;
      perOperator.push(Math.abs(seconds / p.seconds - 1));
      const layer = layers.get(p.m) ?? { predicted: 0, measured: 0 };
      layer.predicted += seconds;
      layer.measured += p.seconds;
      layers.set(p.m, layer);
    });
    for (const layer of layers.values())
      perLayer.push(Math.abs(layer.predicted / layer.measured - 1));
  }
  return { operator: fitError(perOperator), layer: fitError(perLayer) };
}

/** Overhead (seconds) and rate (bytes per second) with least mean relative error; both positive. */
export function fitBytes(points: readonly BytePoint[]): {
  readonly overhead: number;
  readonly rate: number;
  readonly error: FitError;
} {
  const errors = (overhead: number, rate: number): number[] =>
    points.map((p) => Math.abs((overhead + p.bytes / rate) / p.seconds - 1));
  const loss = ([a, b]: readonly number[]): number => {
    const all = errors(Math.exp(a as number), Math.exp(b as number));
    return all.reduce((sum, e) => sum + e, 0) / all.length;
  };
  const shortest = points.reduce((low, p) => Math.min(low, p.seconds), Number.POSITIVE_INFINITY);
  const fastest = points.reduce((high, p) => Math.max(high, p.bytes / p.seconds), 0);
  const first = nelderMead(loss, [Math.log(shortest), Math.log(fastest)], 0.3, 400);
  const { x } = nelderMead(loss, first.x, 0.05, 400);
  const overhead = Math.exp(x[0] as number);
  const rate = Math.exp(x[1] as number);
  return { overhead, rate, error: fitError(errors(overhead, rate)) };
}

/** A measured prefill attention: `pairs` query-key pairs (full product), `keys` keys read. */
export interface PrefillPoint {
  readonly pairs: number;
  readonly keys: number;
  readonly seconds: number;
}

/** Seconds = overhead + pairs * perPair + keys * perKey, all positive. */
export interface PrefillFit {
  readonly overhead: number;
  readonly perPair: number;
  readonly perKey: number;
}

/** Fits prefill attention by least mean |ln(predicted / measured)|. */
export function fitPrefill(points: readonly PrefillPoint[]): PrefillFit {
  const decode = (x: readonly number[]): PrefillFit => ({
    overhead: Math.exp(x[0] as number),
    perPair: Math.exp(x[1] as number),
    perKey: Math.exp(x[2] as number),
  });
  const loss = (x: readonly number[]): number => {
    const f = decode(x);
    let sum = 0;
    for (const p of points) sum += Math.abs(Math.log(prefillSeconds(f, p) / p.seconds));
    return sum;
  };
  const largest = points.reduce((a, b) => (b.pairs > a.pairs ? b : a));
  const shortest = points.reduce((low, p) => Math.min(low, p.seconds), Number.POSITIVE_INFINITY);
  const start = [
    Math.log(shortest),
    Math.log(largest.seconds / largest.pairs),
    Math.log(shortest / largest.keys),
  ];
  return decode(nelderMead(loss, nelderMead(loss, start, 0.5).x, 0.1).x);
}

/** Seconds of a prefill attention by a fit. */
export function prefillSeconds(f: PrefillFit, p: Omit<PrefillPoint, "seconds">): number {
  return f.overhead + p.pairs * f.perPair + p.keys * f.perKey;
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}
