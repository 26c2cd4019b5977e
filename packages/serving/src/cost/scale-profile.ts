/**
 * The step profile of one decoder carried over to another of the same kind: matrix products take time by their weights at
 * the number of columns they get, attention by layers and width. What is measured of columns, tiles and cliffs stays; what
 * grows otherwise, such as building graphs, is taken to grow with the weights.
 */
import { MillraceError } from "@millrace/core";
import type { StepGeometry, StepPoint, StepProfile } from "./profile.ts";
import { fitProfile, headShareOf, type ProfileFit } from "./profile-fit.ts";

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
  const parts = splitter(fitProfile(profile.points, headShareOf(from)));
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

function splitter({ terms, byTokens, headShare }: ProfileFit): (point: StepPoint) => PointParts {
  const attentionOf = (p: StepPoint): number =>
    Math.min(
      terms.tilePair * p.tilePairs +
        terms.shortPair * p.shortPairs +
        terms.decodeToken * p.decodeContext,
      (1 - LEAST_SHARE) * p.seconds,
    );
  return (p) => {
    const attention = attentionOf(p);
    const products = p.seconds - attention;
    // At most what it takes where all columns go through it.
    const whole = (products * headShare) / (1 + headShare);
    const own = p.outputs === 0 ? 0 : headShare * (byTokens[p.outputs] as number);
    const head = Math.min(whole, own);
    return { attention, head, layer: products - head };
  };
}
