/**
 * The step profile of one decoder carried over to another of the same kind: matrix products take time by their weights at
 * the number of columns they get, attention by layers and width. What is measured of columns, tiles and cliffs stays; what
 * grows otherwise, such as building graphs, is taken to grow with the weights.
 */
import { MillraceError } from "@millrace/core";
import type { StepGeometry, StepPoint, StepProfile } from "./profile.ts";
import { fitProfile, type ProfileFit } from "./profile-fit.ts";

/** Smallest share of a step that its products keep when attention is taken off. */
const LEAST_SHARE = 0.2;

/**
 * A profile as it would be of another geometry on the same machine. Throws PROFILE_INVALID when the profile does not know
 * its own geometry or the weights are of another format: kernels of formats differ by more than their bytes.
 */
export function scaleProfile(profile: StepProfile, to: StepGeometry): StepProfile {
  const from = profile.geometry;
  if (from === null)
    throw new MillraceError("PROFILE_INVALID", `the profile of ${profile.model} has no geometry`, {
      hint: "Measure it again: millrace profile writes the geometry.",
    });
  if (from.format !== to.format)
    throw new MillraceError(
      "PROFILE_INVALID",
      `the profile of ${profile.model} is of ${from.format} weights, not of ${to.format}`,
      { hint: "Profile a model whose weights have the same format; its kernels are others." },
    );
  const fit = fitProfile(profile.points);
  const parts = splitter(profile.points, fit, from);
  const ratio = {
    layer: to.layerParameters / from.layerParameters,
    head: to.headParameters / from.headParameters,
    attention: (to.layers * to.attentionWidth) / (from.layers * from.attentionWidth),
  };
  return {
    ...profile,
    geometry: to,
    operators: [],
    points: profile.points.map((point) => {
      const { layer, head, attention } = parts(point);
      const seconds = layer * ratio.layer + head * ratio.head + attention * ratio.attention;
      return { ...point, seconds };
    }),
  };
}

/** Seconds of a point by what they grow with; they sum to its seconds. */
interface PointParts {
  readonly layer: number;
  readonly head: number;
  readonly attention: number;
}

function splitter(
  points: readonly StepPoint[],
  { terms }: ProfileFit,
  { layerParameters, headParameters }: StepGeometry,
): (point: StepPoint) => PointParts {
  const attentionOf = (p: StepPoint): number =>
    Math.min(
      terms.tilePair * p.tilePairs +
        terms.shortPair * p.shortPairs +
        terms.decodeToken * p.decodeContext,
      (1 - LEAST_SHARE) * p.seconds,
    );
  // Pure decodes run as many columns through the head as through the layers: their time per weight is the head's.
  const perWeight = new Map<number, number[]>();
  for (const p of points) {
    if (p.prefillRows > 0) continue;
    const each = (p.seconds - attentionOf(p)) / (layerParameters + headParameters);
    const known = perWeight.get(p.decodeRows);
    if (known === undefined) perWeight.set(p.decodeRows, [each]);
    else known.push(each);
  }
  const known = [...perWeight]
    .map(([rows, each]) => [rows, each.reduce((sum, x) => sum + x, 0) / each.length] as const)
    .sort((a, b) => a[0] - b[0]);
  return (p) => {
    const attention = attentionOf(p);
    const products = p.seconds - attention;
    const outputs = p.prefillRows + p.decodeRows;
    const whole = (products * headParameters) / (layerParameters + headParameters);
    const head = Math.min(whole, headParameters * at(known, outputs));
    return { attention, head, layer: products - head };
  };
}

/** Linear between known points, along the ends' proportion beyond them. */
function at(known: readonly (readonly [number, number])[], x: number): number {
  const [first] = known;
  const last = known.at(-1);
  if (first === undefined || last === undefined) return Number.POSITIVE_INFINITY;
  if (x <= first[0]) return first[1];
  if (x >= last[0]) return (last[1] * x) / last[0];
  const i = known.findIndex(([rows]) => rows >= x);
  const [x1, y1] = known[i] as readonly [number, number];
  const [x0, y0] = known[i - 1] as readonly [number, number];
  return y0 + ((x - x0) / (x1 - x0)) * (y1 - y0);
}
