/**
 * A group of points against labels that it shares: uniform draws, or all labels. What a point's own step has met already
 * (true labels, hard ones) is left out of the draws or weighs less there. Here is decided which labels and which changes of
 * gradients; GroupStep computes.
 */
import type { Rng } from "@millrace/core";
import type { Fix } from "./fixes.ts";
import type { TrainOptions } from "./options.ts";
import type { TrainingPoints } from "./points.ts";

/** What a point's own labels mean for the uniform draws: `none` have no gradient there, `listed` a smaller one. */
export interface Met {
  readonly none: Int32Array;
  readonly listed: Int32Array | null;
  readonly factors: Float32Array | null;
}

/** Labels that one group draws. */
export function uniformLabelsOf(options: TrainOptions, labels: number): number {
  return Math.min(options.uniform, labels);
}

/** Fills `drawn` with one draw from each of as many equal stretches of the ids, ascending: every label is expected drawn / labels times. */
export function drawUniform(drawn: Int32Array, labels: number, rng: Rng): void {
  const count = drawn.length;
  for (let u = 0; u < count; u++)
    drawn[u] = Math.floor(((u + rng.uint32() / 4294967296) * labels) / count);
}

/** Changes to the gradients of a group's draws: what its points have met, and filtered pairs. */
export function uniformFixes(
  points: TrainingPoints,
  ids: Int32Array,
  met: readonly Met[],
  drawn: Int32Array,
  group: number,
): Fix[] {
  const { labels } = points;
  const count = drawn.length;
  const fixes: Fix[] = [];
  const fix = (label: number, point: number, factor: number): void => {
    // The stretches that overlap the label.
    const least = Math.floor((label * count) / labels);
    const most = Math.min(Math.floor(((label + 1) * count) / labels), count - 1);
    for (let u = least; u <= most; u++)
      if (drawn[u] === label) fixes.push({ at: u * group + point, factor, less: 0 });
  };
  for (let i = 0; i < ids.length; i++) {
    const { none, listed, factors } = met[i] as Met;
    for (const label of none) fix(label, i, 0);
    if (listed !== null && factors !== null)
      for (let j = 0; j < listed.length; j++) fix(listed[j] as number, i, factors[j] as number);
    for (const label of points.filtered(ids[i] as number)) fix(label, i, 0);
  }
  return fixes;
}

/** The same for all labels: true ones lose 1, filtered pairs have no gradient. */
export function fullFixes(points: TrainingPoints, ids: Int32Array, group: number): Fix[] {
  const fixes: Fix[] = [];
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    for (const label of points.own(id)) fixes.push({ at: label * group + i, factor: 1, less: 1 });
    for (const label of points.filtered(id))
      fixes.push({ at: label * group + i, factor: 0, less: 0 });
  }
  return fixes;
}
