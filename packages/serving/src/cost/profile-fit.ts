/**
 * Regression of step times: a curve over the tokens of the step (matrix products, with every cliff that was measured), the same
 * curve over the columns of the output head in proportion to its weights, and terms that grow with attention and rows. All parts are non-negative, so that predictions are positive everywhere.
 */
import { nonNegativeLeastSquares } from "./non-negative.ts";
import type { StepGeometry, StepPoint } from "./profile.ts";

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
  /** On top, of each of the first FIRST_DECODES decode rows. */
  readonly firstDecode: number;
  readonly decodeToken: number;
  /** Of a step whose rows are not those before: its graph is built. */
  readonly fresh: number;
}

/**
 * Decode rows after which one more costs less: attention runs by groups of rows in neighbouring slots, and their number soon
 * stops growing.
 */
export const FIRST_DECODES = 4;

export interface ProfileFit {
  readonly terms: Terms;
  /** Seconds of the layers by tokens, 0 … most measured. */
  readonly byTokens: Float64Array;
  /** Seconds of one token more beyond the curve. */
  readonly slope: number;
  /** The output head takes this share of what the layers take with as many columns as it has outputs. */
  readonly headShare: number;
}

/** What the head takes of what the layers take with the same columns: their weights decide. 0 where they are not known. */
export function headShareOf(geometry: StepGeometry | null): number {
  return geometry === null ? 0 : geometry.headParameters / geometry.layerParameters;
}

/** Rounds of terms and curve: the head's time is of a curve that its own points make. */
const ROUNDS = 4;

/** Fits points. Deterministic. */
export function fitProfile(points: readonly StepPoint[], headShare = 0): ProfileFit {
  const tokens = points.map((p) => p.prefillTokens + p.decodeRows);
  const weights = smoothFit(points, tokens, headShare);
  const smooth = (t: number): number =>
    KNOTS.reduce(
      (sum, knot, i) => sum + (weights[2 + i] as number) * Math.min(t, knot),
      (weights[0] as number) + (weights[1] as number) * t,
    );
  const groups = [...grouped(tokens)].sort((a, b) => a[0] - b[0]);
  let terms: Float64Array = weights.slice(-TERMS);
  let byTokens: Float64Array = new Float64Array();
  for (let round = 0; round < ROUNDS; round++) {
    const head = points.map(({ outputs }) =>
      outputs === 0 ? 0 : headShare * (byTokens[outputs] ?? smooth(outputs)),
    );
    const layers = Float64Array.from(points, (p, i) => p.seconds - (head[i] as number));
    terms = refined(
      points,
      layers,
      groups.map(([, group]) => group),
      weights.slice(-TERMS),
    );
    const known = groups.map(([t, group]): [number, number] => {
      let sum = 0;
      let weight = 0;
      for (const i of group) {
        const p = points[i] as StepPoint;
        const other = dot(features(p), terms);
        // Where all columns go through the head, its share is of the very number that is sought.
        const own =
          p.outputs === t ? (p.seconds - other) / (1 + headShare) : (layers[i] as number) - other;
        sum += own / p.seconds ** 2;
        weight += 1 / p.seconds ** 2;
      }
      return [t, Math.max(0, sum / weight)];
    });
    byTokens = curve(known, smooth);
  }
  const [tilePair, shortPair, prefillRow, decodeRow, firstDecode, decodeToken, fresh] =
    terms as unknown as [number, number, number, number, number, number, number];
  return {
    terms: { tilePair, shortPair, prefillRow, decodeRow, firstDecode, decodeToken, fresh },
    byTokens,
    slope: weights[1] as number,
    headShare,
  };
}

const TERMS = 7;

function features(p: StepPoint): Float64Array {
  return Float64Array.of(
    p.tilePairs,
    p.shortPairs,
    p.prefillRows,
    p.decodeRows,
    Math.min(p.decodeRows, FIRST_DECODES),
    p.decodeContext,
    p.fresh,
  );
}

/** A concave curve and the terms together, with least squared relative error. */
function smoothFit(
  points: readonly StepPoint[],
  tokens: readonly number[],
  headShare: number,
): Float64Array {
  const basis = (t: number): number[] => [1, t, ...KNOTS.map((knot) => Math.min(t, knot))];
  const rows = points.map((p, i) => {
    const head = p.outputs === 0 ? [] : basis(p.outputs);
    const products = basis(tokens[i] as number).map((x, j) => x + headShare * (head[j] ?? 0));
    return Float64Array.from([...products, ...features(p)], (x) => x / p.seconds);
  });
  return nonNegativeLeastSquares(rows, new Float64Array(points.length).fill(1));
}

/**
 * The terms from differences between points of one token count, the head taken off, where the curve cancels out; what such points do not tell
 * stays as the smooth fit had it.
 */
function refined(
  points: readonly StepPoint[],
  layers: Float64Array,
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
      seconds += w * (layers[i] as number);
    }
    for (const i of group) {
      const p = points[i] as StepPoint;
      rows.push(features(p).map((x, j) => (x - (mean[j] as number)) / p.seconds));
      y.push(((layers[i] as number) - seconds) / p.seconds);
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
