/** Propensities: how likely a true label is to be observed, from its training frequency (Jain, Prabhu, Varma 2016). */

export interface PropensityModel {
  readonly a: number;
  readonly b: number;
}

/** Published constants. */
export const propensityModels = {
  amazon: { a: 0.6, b: 2.6 },
  wikipedia: { a: 0.5, b: 0.4 },
  other: { a: 0.55, b: 1.5 },
} as const satisfies Record<string, PropensityModel>;

/** 1 + C (n + B)^-A with C = (ln N - 1)(B + 1)^A, per label; `counts` are training frequencies, `points` training points. */
export function inversePropensity(
  counts: ArrayLike<number>,
  points: number,
  model: PropensityModel = propensityModels.other,
): Float64Array {
  const c = (Math.log(points) - 1) * (model.b + 1) ** model.a;
  return Float64Array.from(counts, (n) => 1 + c * (n + model.b) ** -model.a);
}
