/**
 * Fits a prefill curve to one robust time per length. Prefill is a pass over the weights (constant), matrix products per
 * token (linear) and attention between all pairs of tokens (quadratic), so a quadratic whose three coefficients are at
 * least 0 is the physical model, and monotone by construction. Etalon fits a random forest to the same two features; it
 * is flat between its training points and beyond the last (bench.md 1.4).
 */
import { invariant, leastSquares, median } from "@millrace/core";
import type { PrefillCurve } from "../contracts.ts";

/** One length: prompt tokens, and seconds to the first token. */
export interface PrefillPoint {
  readonly promptTokens: number;
  readonly seconds: number;
}

/** Huber's constant: residuals beyond this many standard deviations count linearly. */
const HUBER = 1.345;
/** Relative error below which residuals are rounding; keeps weights finite when most points are hit exactly. */
const EXACT = 1e-9;
const ROUNDS = 50;
const SETTLED = 1e-6;
/** The 7 non-empty sets of the terms 1, n, n². */
const termSets = [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]] as const;

/**
 * The curve c + l n + q n² with c, l, q >= 0 that minimizes Huber's loss of the relative errors, so that a short prompt
 * counts as much as a long one and one bad length does not bend the rest. `points`: at least 1, lengths and seconds
 * above 0; with fewer than 3 different lengths the curve goes through them and is not the only one that does. Exact on
 * points of such a curve. O(rounds x points).
 */
export function fitPrefill(points: readonly PrefillPoint[]): PrefillCurve {
  invariant(points.length > 0, "a prefill curve needs at least one point");
  for (const { promptTokens, seconds } of points)
    invariant(
      promptTokens > 0 && seconds > 0 && Number.isFinite(promptTokens) && Number.isFinite(seconds),
      `${seconds} s for ${promptTokens} tokens is not a point of a prefill curve`,
    );
  const longest = Math.max(...points.map((p) => p.promptTokens));
  // Lengths as shares of the longest, so that the columns are of one size.
  const x = points.map((p) => p.promptTokens / longest);
  const weights = new Float64Array(points.length).fill(1);
  let terms = weighted(x, points, weights);
  for (let round = 0; round < ROUNDS; round++) {
    const errors = points.map((p, i) => at(terms, x[i] as number) / p.seconds - 1);
    const scale = Math.max(1.4826 * median(errors.map(Math.abs)), EXACT);
    errors.forEach((error, i) => {
      weights[i] = Math.min(1, (HUBER * scale) / Math.max(Math.abs(error), EXACT));
    });
    const next = weighted(x, points, weights);
    const moved = Math.max(
      ...points.map(
        (p, i) => Math.abs(at(next, x[i] as number) - at(terms, x[i] as number)) / p.seconds,
      ),
    );
    terms = next;
    if (moved < SETTLED) break;
  }
  return {
    constant: terms[0],
    linear: terms[1] / longest,
    quadratic: terms[2] / longest ** 2,
    minTokens: Math.min(...points.map((p) => p.promptTokens)),
    maxTokens: longest,
  };
}

type Terms = readonly [number, number, number];

function at([constant, linear, quadratic]: Terms, x: number): number {
  return constant + x * (linear + x * quadratic);
}

/**
 * Least squares of relative errors over terms that are at least 0. The minimum has some set of terms above 0 and is the
 * unconstrained minimum over that set, so the best feasible one of all seven sets is exactly it.
 */
function weighted(
  x: readonly number[],
  points: readonly PrefillPoint[],
  weights: Float64Array,
): Terms {
  let best: Terms = [0, 0, 0];
  let least = Number.POSITIVE_INFINITY;
  const roots = weights.map(Math.sqrt);
  const goal = Float64Array.from(roots);
  for (const set of termSets) {
    if (set.length > points.length) continue;
    const rows = points.map(({ seconds }, i) =>
      Float64Array.from(
        set,
        (power) => ((roots[i] as number) * (x[i] as number) ** power) / seconds,
      ),
    );
    const solved = leastSquares(rows, goal);
    if (solved.some((value) => value < 0)) continue;
    const terms: [number, number, number] = [0, 0, 0];
    set.forEach((power, k) => {
      terms[power] = solved[k] as number;
    });
    const loss = points.reduce((sum, { seconds }, i) => {
      const error = at(terms, x[i] as number) / seconds - 1;
      return sum + (weights[i] as number) * error * error;
    }, 0);
    // A larger set wins only by more than rounding, so that a straight line gets no quadratic term.
    if (loss < least * (1 - 1e-12) - 1e-26) {
      least = loss;
      best = terms;
    }
  }
  return best;
}
