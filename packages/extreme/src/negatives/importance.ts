/**
 * Importance sampling of hard negatives (ASTRA, observation b: importance and uniform sampling against staleness). A point's h
 * draws follow its stale scores, π ∝ σ(s) over the shortlist, and the group's U uniform draws reach every label, so a label is
 * expected h π + U/L times in the mixture. The weight (1 / (h π + U/L))^α of each occurrence is unbiased at α = 1 for any
 * stale list (deterministic-mixture form of multiple importance sampling) and never exceeds (L/U)^α.
 */
import type { Rng } from "@millrace/core";

/** Draws of one point. Reused; valid until the next draw. */
export class ImportanceDraw {
  /** Labels that were drawn at least once, and the weight of each: its number of draws times the weight of an occurrence. */
  readonly labels: Int32Array;
  readonly weights: Float32Array;
  drawn = 0;
  /** All labels of the shortlist, with the factor by which a uniform draw of them weighs less than of others. */
  readonly listed: Int32Array;
  readonly factors: Float32Array;
  size = 0;
  readonly #chances: Float64Array;
  readonly #counts: Int32Array;

  constructor(shortlist: number) {
    this.labels = new Int32Array(shortlist);
    this.weights = new Float32Array(shortlist);
    this.listed = new Int32Array(shortlist);
    this.factors = new Float32Array(shortlist);
    this.#chances = new Float64Array(shortlist);
    this.#counts = new Int32Array(shortlist);
  }

  /** `labels` (-1 where there are fewer) and `scores` (z·w + b, stale) of one shortlist; `uniformRate` is U/L. */
  draw(
    labels: Int32Array,
    scores: Float32Array,
    draws: number,
    uniformRate: number,
    alpha: number,
    rng: Rng,
  ): void {
    let total = 0;
    let n = 0;
    for (let j = 0; j < labels.length && (labels[j] as number) >= 0; j++, n++) {
      // A floor keeps every listed label reachable by its own draws.
      const chance = Math.max(1 / (1 + Math.exp(-(scores[j] as number))), 1e-9);
      this.#chances[j] = chance;
      total += chance;
      this.listed[j] = labels[j] as number;
    }
    this.size = n;
    this.drawn = 0;
    if (n === 0) return;
    this.#counts.fill(0, 0, n);
    // Systematic draws: one per stretch of 1/draws of the cumulated chances, so that counts differ from h π by less than 1.
    let at = 0;
    let sum = this.#chances[0] as number;
    for (let d = 0; d < draws; d++) {
      const u = ((d + rng.next()) / draws) * total;
      while (sum < u && at < n - 1) sum += this.#chances[++at] as number;
      this.#counts[at] = (this.#counts[at] as number) + 1;
    }
    for (let j = 0; j < n; j++) {
      const expected = (draws * (this.#chances[j] as number)) / total + uniformRate;
      this.factors[j] = (uniformRate / expected) ** alpha;
      const count = this.#counts[j] as number;
      if (count === 0) continue;
      this.labels[this.drawn] = labels[j] as number;
      this.weights[this.drawn++] = count * expected ** -alpha;
    }
  }
}
