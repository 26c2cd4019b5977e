/** The metrics of a ranking against the truth, at several cut-offs, and the share of each frequency decile. */
import { invariant } from "@millrace/core";
import type { Csr } from "../data/csr.ts";
import type { Ranking } from "./ranking.ts";

/** All in 0 … 1. */
export interface MetricsAt {
  readonly k: number;
  readonly precision: number;
  readonly ndcg: number;
  readonly psPrecision: number;
  readonly psNdcg: number;
  /** Mean over points with at least one true label. */
  readonly recall: number;
  /** Share of the labels that occur in the truth which were found at least once. */
  readonly coverage: number;
}

/** Labels by training frequency, rarest first; each decile holds a tenth of the labels. */
export interface Decile {
  readonly fewest: number;
  readonly most: number;
  /** What hits on labels of this decile add to precision at the largest cut-off; the deciles sum to it. */
  readonly precision: number;
  readonly recall: number;
}

export interface Evaluation {
  readonly points: number;
  /** Points without a true label: they count as 0 in precision and are left out of nDCG, recall and the PS metrics. */
  readonly unlabelled: number;
  readonly at: readonly MetricsAt[];
  readonly deciles: readonly Decile[];
}

export interface EvaluateOptions {
  readonly cutoffs?: readonly number[];
  /** Per label, from the training frequencies; see `inversePropensity`. Absent: all 1. */
  readonly inversePropensity?: Float64Array;
  /** Training frequency per label, for the deciles. */
  readonly counts?: Int32Array;
  /** Points without a true label count in every mean, as in pyxclib. Its wrap-around normaliser for them multiplies 0, so it has no effect. */
  readonly compat?: "pyxclib";
}

/**
 * Evaluates. Precision divides by k even where a point has fewer labels; the propensity-scored metrics are ratios of means
 * against the best achievable ranking of the true labels (not means of ratios). The ranking must reach the largest cut-off.
 */
export function evaluate(ranking: Ranking, truth: Csr, options: EvaluateOptions = {}): Evaluation {
  const cutoffs = [...(options.cutoffs ?? [1, 3, 5])].sort((a, b) => a - b);
  const deepest = cutoffs.at(-1) ?? 0;
  invariant(ranking.points === truth.rows, "ranking and truth have as many points");
  invariant(deepest >= 1 && deepest <= ranking.k, "the ranking reaches the largest cut-off");
  const ip = options.inversePropensity;
  const weight = (label: number): number => ip?.[label] ?? 1;
  const hit = new Uint8Array(deepest);
  const counted = options.compat === "pyxclib" ? truth.rows : labelledRows(truth);
  const at = cutoffs.map((k) => {
    const discounts = discountSums(k);
    const found = new Uint8Array(truth.cols);
    let [hits, dcg, psHits, psBest, psDcg, psDcgBest, recall] = [0, 0, 0, 0, 0, 0, 0];
    for (let i = 0; i < truth.rows; i++) {
      const own = truth.indices.subarray(truth.indptr[i], truth.indptr[i + 1]);
      if (own.length === 0) continue;
      markHits(ranking, i, own, hit);
      const norm = discounts[Math.min(k, own.length)] as number;
      let [rowHits, rowDcg, rowPs, rowPsDcg] = [0, 0, 0, 0];
      for (let r = 0; r < k; r++) {
        if (hit[r] === 0) continue;
        const label = ranking.labels[i * ranking.k + r] as number;
        const gain = 1 / Math.log2(r + 2);
        found[label] = 1;
        rowHits++;
        rowDcg += gain;
        rowPs += weight(label);
        rowPsDcg += weight(label) * gain;
      }
      const best = Float64Array.from(own, weight).sort().reverse().subarray(0, k);
      best.forEach((w, r) => {
        psBest += w;
        psDcgBest += w / Math.log2(r + 2) / norm;
      });
      hits += rowHits;
      dcg += rowDcg / norm;
      psHits += rowPs;
      psDcg += rowPsDcg / norm;
      recall += rowHits / own.length;
    }
    const present = columnsPresent(truth);
    return {
      k,
      precision: ratio(hits, k * truth.rows),
      ndcg: ratio(dcg, counted),
      psPrecision: ratio(psHits, psBest),
      psNdcg: ratio(psDcg, psDcgBest),
      recall: ratio(recall, counted),
      coverage: ratio(sum(found), present),
    };
  });
  return {
    points: truth.rows,
    unlabelled: truth.rows - labelledRows(truth),
    at,
    deciles: options.counts === undefined ? [] : deciles(ranking, truth, options.counts, deepest),
  };
}

function markHits(ranking: Ranking, row: number, own: Int32Array, hit: Uint8Array): void {
  for (let r = 0; r < hit.length; r++) {
    const label = ranking.labels[row * ranking.k + r] as number;
    hit[r] = label >= 0 && contains(own, label) ? 1 : 0;
  }
}

/** Whether an ascending list holds `value`. */
function contains(ascending: Int32Array, value: number): boolean {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if ((ascending[mid] as number) < value) low = mid + 1;
    else high = mid;
  }
  return ascending[low] === value;
}

/** discountSums(k)[n] = Σ_{r ≤ n} 1 / log2(r + 1). */
function discountSums(k: number): Float64Array {
  const sums = new Float64Array(k + 1);
  for (let r = 1; r <= k; r++) sums[r] = (sums[r - 1] as number) + 1 / Math.log2(r + 1);
  return sums;
}

function labelledRows(truth: Csr): number {
  let rows = 0;
  for (let i = 0; i < truth.rows; i++) if (truth.indptr[i] !== truth.indptr[i + 1]) rows++;
  return rows;
}

function columnsPresent(truth: Csr): number {
  const seen = new Uint8Array(truth.cols);
  for (const label of truth.indices) seen[label] = 1;
  return sum(seen);
}

function sum(values: Uint8Array): number {
  let total = 0;
  for (const v of values) total += v;
  return total;
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

function deciles(ranking: Ranking, truth: Csr, counts: Int32Array, k: number): Decile[] {
  const order = Int32Array.from(counts.keys()).sort(
    (a, b) => (counts[a] as number) - (counts[b] as number) || a - b,
  );
  const decile = new Uint8Array(counts.length);
  order.forEach((label, i) => {
    decile[label] = Math.floor((i * 10) / order.length);
  });
  const hits = new Float64Array(10);
  const trues = new Float64Array(10);
  const hit = new Uint8Array(k);
  for (let i = 0; i < truth.rows; i++) {
    const own = truth.indices.subarray(truth.indptr[i], truth.indptr[i + 1]);
    for (const label of own) bump(trues, decile[label] as number);
    markHits(ranking, i, own, hit);
    for (let r = 0; r < k; r++)
      if (hit[r] === 1) bump(hits, decile[ranking.labels[i * ranking.k + r] as number] as number);
  }
  return Array.from(hits, (h, d) => {
    const from = Math.ceil((d * order.length) / 10);
    const to = Math.ceil(((d + 1) * order.length) / 10) - 1;
    return {
      fewest: counts[order[from] ?? 0] ?? 0,
      most: counts[order[to] ?? 0] ?? 0,
      precision: ratio(h, k * truth.rows),
      recall: ratio(h, trues[d] as number),
    };
  });
}

function bump(values: Float64Array, at: number): void {
  values[at] = (values[at] as number) + 1;
}
