/**
 * Metrics of extreme classification: precision, nDCG, their propensity-scored forms, recall. Owns the exact definitions
 * (Bhatia et al., the Extreme Classification Repository; propensities of Jain et al. 2016) and the order of ties.
 */
import { invariant } from "@millrace/core";

/** The best labels of each point, best first. Missing places hold label -1, which never hits. */
export interface Ranking {
  readonly points: number;
  readonly k: number;
  /** points × k. */
  readonly labels: Int32Array;
  /** points × k; NaN where the label is -1. */
  readonly scores: Float32Array;
}

/** Which label wins among equal scores: `low-id` here; `high-id` is what pyxclib's reversed stable sort gives. */
export type TieOrder = "low-id" | "high-id";

/**
 * Keeps the best `k` of a stream of (label, score) pairs of one point; ties by `tie`. Each label is offered once. Scores are
 * finite. `drain` writes best first, pads with -1, and empties it.
 */
export class TopK {
  readonly k: number;
  readonly #labels: Int32Array;
  readonly #scores: Float32Array;
  readonly #low: boolean;
  #size = 0;

  constructor(k: number, tie: TieOrder = "low-id") {
    invariant(k >= 1, "k is at least 1");
    this.k = k;
    this.#labels = new Int32Array(k);
    this.#scores = new Float32Array(k);
    this.#low = tie === "low-id";
  }

  /** A score must be at least this to get in; -Infinity while there is room. */
  get threshold(): number {
    return this.#size < this.k ? Number.NEGATIVE_INFINITY : (this.#scores[0] as number);
  }

  offer(label: number, score: number): void {
    const scores = this.#scores;
    if (this.#size < this.k) {
      // Heap with the worst at the root.
      let at = this.#size++;
      while (at > 0) {
        const up = (at - 1) >> 1;
        if (!this.#worse(label, score, up)) break;
        this.#move(up, at);
        at = up;
      }
      this.#put(at, label, score);
      return;
    }
    if (score < (scores[0] as number) || this.#worse(label, score, 0)) return;
    this.#sift(label, score, this.k);
  }

  drain(labels: Int32Array, scores: Float32Array, at: number): void {
    const size = this.#size;
    for (let left = size - 1; left >= 0; left--) {
      labels[at + left] = this.#labels[0] as number;
      scores[at + left] = this.#scores[0] as number;
      this.#sift(this.#labels[left] as number, this.#scores[left] as number, left);
    }
    for (let i = size; i < this.k; i++) {
      labels[at + i] = -1;
      scores[at + i] = Number.NaN;
    }
    this.#size = 0;
  }

  /** Puts a pair at the root and lets it sink among the first `size`. */
  #sift(label: number, score: number, size: number): void {
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= size) break;
      if (
        down + 1 < size &&
        this.#worse(this.#labels[down + 1] as number, this.#scores[down + 1] as number, down)
      )
        down++;
      if (this.#worse(label, score, down)) break;
      this.#move(down, at);
      at = down;
    }
    if (size > 0) this.#put(at, label, score);
  }

  #worse(label: number, score: number, than: number): boolean {
    const other = this.#scores[than] as number;
    if (score !== other) return score < other;
    return this.#low
      ? label > (this.#labels[than] as number)
      : label < (this.#labels[than] as number);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#labels[from] as number, this.#scores[from] as number);
  }

  #put(at: number, label: number, score: number): void {
    this.#labels[at] = label;
    this.#scores[at] = score;
  }
}

/** One ranking of sparse predictions given as rows of (label, score); `drop` tells pairs that are left out. */
export function rank(
  rows: {
    readonly rows: number;
    readonly indptr: Int32Array;
    readonly indices: Int32Array;
    readonly values: Float32Array | null;
  },
  k: number,
  tie: TieOrder = "low-id",
  drop: (row: number, label: number) => boolean = () => false,
): Ranking {
  const labels = new Int32Array(rows.rows * k);
  const scores = new Float32Array(rows.rows * k);
  const top = new TopK(k, tie);
  for (let i = 0; i < rows.rows; i++) {
    for (let j = rows.indptr[i] as number; j < (rows.indptr[i + 1] as number); j++) {
      const label = rows.indices[j] as number;
      if (!drop(i, label)) top.offer(label, rows.values?.[j] ?? 1);
    }
    top.drain(labels, scores, i * k);
  }
  return { points: rows.rows, k, labels, scores };
}
