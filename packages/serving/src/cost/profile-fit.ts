/**
 * Regression of step times: a curve over the tokens of the step (matrix products, with every cliff that was measured) plus
 * terms that grow with attention and rows. All parts are non-negative, so that predictions are positive everywhere.
 */
import { nonNegativeLeastSquares } from "./non-negative.ts";
import type { StepPoint } from "./profile.ts";

/** Token counts at which the time per token may fall: small batches are bound by weights, large ones by arithmetic. */
const KNOTS = [2, 4, 8, 16, 32, 64, 128, 256, 512];
/** Weight of the smooth fit against the points of one token count, where these say nothing about a term. */
const PRIOR = 1e-3;

/** Seconds per unit of what a step computes beside the products over its tokens. */
export interface Terms {
  readonly tilePair: number;
  readonly shortPair: number;
  readonly prefillRow: number;
  readonly decodeRow: number;
  readonly decodeToken: number;
}

export interface ProfileFit {
  readonly terms: Terms;
  /** Seconds by tokens, 0 … most measured. */
  readonly byTokens: Float64Array;
  /** Seconds of one token more beyond the curve. */
  readonly slope: number;
}

/** Fits points. Deterministic. */
export function fitProfile(points: readonly StepPoint[]): ProfileFit {
  const tokens = points.map((p) => p.prefillTokens + p.decodeRows);
  const weights = smoothFit(points, tokens);
  const smooth = (t: number): number =>
    KNOTS.reduce(
      (sum, knot, i) => sum + (weights[2 + i] as number) * Math.min(t, knot),
      (weights[0] as number) + (weights[1] as number) * t,
    );
  const first = weights.slice(-TERMS);
  const groups = grouped(tokens);
  const terms = refined(points, [...groups.values()], first);
  const known: [number, number][] = [...groups].map(([t, group]) => {
    let sum = 0;
    let weight = 0;
    for (const i of group) {
      const p = points[i] as StepPoint;
      sum += (p.seconds - dot(features(p), terms)) / p.seconds ** 2;
      weight += 1 / p.seconds ** 2;
    }
    return [t, Math.max(0, sum / weight)];
  });
  known.sort((a, b) => a[0] - b[0]);
  const [tilePair, shortPair, prefillRow, decodeRow, decodeToken] = terms as unknown as [
    number,
    number,
    number,
    number,
    number,
  ];
  return {
    terms: { tilePair, shortPair, prefillRow, decodeRow, decodeToken },
    byTokens: curve(known, smooth),
    slope: weights[1] as number,
  };
}

const TERMS = 5;

function features(p: StepPoint): Float64Array {
  return Float64Array.of(p.tilePairs, p.shortPairs, p.prefillRows, p.decodeRows, p.decodeContext);
}

/** A concave curve and the terms together, with least squared relative error. */
function smoothFit(points: readonly StepPoint[], tokens: readonly number[]): Float64Array {
  const rows = points.map((p, i) => {
    const t = tokens[i] as number;
    const row = [1, t, ...KNOTS.map((knot) => Math.min(t, knot)), ...features(p)];
    return Float64Array.from(row, (x) => x / p.seconds);
  });
  return nonNegativeLeastSquares(rows, new Float64Array(points.length).fill(1));
}

/**
 * The terms from differences between points of one token count, where the curve cancels out; what such points do not tell
 * stays as the smooth fit had it.
 */
function refined(
  points: readonly StepPoint[],
  groups: readonly (readonly number[])[],
  first: Float64Array,
): Float64Array {
  const rows: Float64Array[] = [];
  const y: number[] = [];
  const scale = new Float64Array(TERMS);
  for (const group of groups) {
    const weight = group.reduce((sum, i) => sum + 1 / (points[i] as StepPoint).seconds ** 2, 0);
    const mean = new Float64Array(TERMS);
    let seconds = 0;
    for (const i of group) {
      const p = points[i] as StepPoint;
      const w = 1 / p.seconds ** 2 / weight;
      features(p).forEach((x, j) => {
        mean[j] = (mean[j] as number) + w * x;
        scale[j] = (scale[j] as number) + (x / p.seconds) ** 2;
      });
      seconds += w * p.seconds;
    }
    for (const i of group) {
      const p = points[i] as StepPoint;
      rows.push(features(p).map((x, j) => (x - (mean[j] as number)) / p.seconds));
      y.push((p.seconds - seconds) / p.seconds);
    }
  }
  for (let j = 0; j < TERMS; j++) {
    const size = Math.sqrt(PRIOR * (scale[j] as number));
    const row = new Float64Array(TERMS);
    row[j] = size;
    rows.push(row);
    y.push(size * (first[j] as number));
  }
  return nonNegativeLeastSquares(rows, Float64Array.from(y));
}

/** Seconds of every token count: known ones as they are, between them along the smooth curve's deviation. */
function curve(
  known: readonly (readonly [number, number])[],
  smooth: (tokens: number) => number,
): Float64Array {
  const most = known.at(-1)?.[0] ?? 0;
  const off = known.map(([t, seconds]) => seconds - smooth(t));
  let at = 0;
  return Float64Array.from({ length: most + 1 }, (_, t) => {
    while (at < known.length && (known[at] as readonly [number, number])[0] < t) at++;
    const [high, seconds] = known[at] as readonly [number, number];
    if (high === t) return seconds;
    if (at === 0) return Math.max(0, smooth(t) + (t === 0 ? 0 : (off[0] as number) * (t / high)));
    const [low] = known[at - 1] as readonly [number, number];
    const share = (t - low) / (high - low);
    const deviation = (off[at - 1] as number) * (1 - share) + (off[at] as number) * share;
    return Math.max(0, smooth(t) + deviation);
  });
}

function grouped(tokens: readonly number[]): Map<number, number[]> {
  const groups = new Map<number, number[]>();
  tokens.forEach((t, i) => {
    const group = groups.get(t);
    if (group === undefined) groups.set(t, [i]);
    else group.push(i);
  });
  return groups;
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, x, j) => sum + x * (b[j] as number), 0);
}
