/**
 * What a run will take: memory, arithmetic, time, traffic. The terms are counted from the algorithm; four rates are measured
 * on this machine (rates.ts). Times are of CPU; `workers` divides them and adds the traffic between shards.
 */
import { ivfOptionsFor } from "../index/ivf.ts";
import { defaultIndexShare } from "../negatives/shortlists.ts";
import type { TrainOptions } from "../train/options.ts";
import { type Rates, referenceRates } from "./rates.ts";

export interface EstimateInput {
  readonly options: TrainOptions;
  readonly points: number;
  readonly labels: number;
  readonly vocabulary: number;
  readonly featuresPerPoint: number;
  readonly labelsPerPoint: number;
  /** Machines that each hold a stripe of the labels. */
  readonly workers: number;
  readonly rates?: Rates;
}

export interface Estimate {
  /** (point, label) scores of training, per point and epoch. */
  readonly pairsPerPoint: number;
  /** The same of one refresh. */
  readonly scanPairsPerPoint: number;
  readonly stepSeconds: number;
  readonly epochSeconds: number;
  readonly refreshSeconds: number;
  readonly refreshes: number;
  /** All epochs and refreshes. */
  readonly totalSeconds: number;
  /** Per machine: matrices, optimizer, data, shortlists, index. */
  readonly peakBytes: number;
  /** Bytes that each machine sends per step: z to all, partial gradients of z back. 0 for one machine. */
  readonly trafficBytesPerStep: number;
}

/** Flops of a (point, label) pair: score, gradient of z, update of w. */
const flopsPerPairDim = 6;

/** Lists that points look into hold more labels than the mean list: measured at 35,048 labels. */
const crowding = 1.4;

/**
 * Lists, and how many of them a recall takes: by how it grew with them, between trained vectors (35,048 labels: 0.86, 0.93 and 0.97 at
 * 6, 12 and 24 % of the lists) and young ones (131,072 labels: 0.71, 0.86 and 0.94).
 */
function likelyProbes(labels: number, options: TrainOptions): { lists: number; probes: number } {
  const { lists } = ivfOptionsFor(labels);
  const share = Math.min(
    0.06 * Math.exp(9.5 * (options.indexRecall - 0.79)),
    options.indexShare ?? defaultIndexShare,
  );
  return { lists, probes: Math.max(1, share * lists) };
}

export function estimate(input: EstimateInput): Estimate {
  const { options, points, labels, vocabulary, featuresPerPoint, labelsPerPoint, workers } = input;
  const rates = input.rates ?? referenceRates;
  const { sampler, dim, batch, shortlist, rescore } = options;
  const full = sampler === "full";
  const hardened = sampler !== "full" && sampler !== "uniform";
  const uniform = full ? labels : sampler === "hard" ? 0 : Math.min(options.uniform, labels);
  const listed = Math.min(shortlist, Math.max(labels - labelsPerPoint, 0));
  const chosen = sampler !== "importance" && rescore > 0 && rescore < listed;
  const hard = !hardened
    ? 0
    : sampler === "importance"
      ? Math.min(options.hardDraws, listed)
      : chosen
        ? rescore
        : listed;
  const ragged = full ? 0 : labelsPerPoint + hard;
  const rescored = hardened && chosen ? listed : 0;
  const pairsPerPoint = uniform + ragged + rescored;
  const perPoint =
    (uniform * dim * flopsPerPairDim) / rates.groupFlops +
    (ragged * dim * flopsPerPairDim + rescored * dim * 2) / rates.raggedFlops +
    (featuresPerPoint * dim * 6) / rates.bagFlops +
    rates.pointSeconds;
  const epochSeconds = (points * perPoint) / workers;
  const { lists, probes } = likelyProbes(labels, options);
  const exact = options.index === "exact" || (options.index === "auto" && labels <= 4096);
  const scanPairsPerPoint = hardened
    ? exact
      ? labels
      : lists + (crowding * labels * probes) / lists
    : 0;
  const clustering = exact ? 0 : 2 * lists * dim * (labels + 4 * Math.min(labels, lists * 32));
  const refreshSeconds = hardened
    ? ((points * scanPairsPerPoint * dim * 2 + clustering) / rates.scanFlops +
        points * (shortlist * rates.pickSeconds + rates.pointSeconds)) /
      workers
    : 0;
  const refreshes = hardened
    ? Math.max(0, Math.ceil((options.epochs - 1) / options.refreshEvery))
    : 0;
  const stripe = Math.ceil(labels / workers);
  const peakBytes =
    4 * dim * (stripe + vocabulary) +
    4 * vocabulary +
    (hardened ? 2 * dim * stripe + 8 * points * shortlist : 0) +
    points * (8 * featuresPerPoint * 2 + 4 * labelsPerPoint + 12) +
    (hardened ? 40e6 : 0);
  return {
    pairsPerPoint,
    scanPairsPerPoint,
    stepSeconds: epochSeconds / Math.ceil(points / batch),
    epochSeconds,
    refreshSeconds,
    refreshes,
    totalSeconds: options.epochs * epochSeconds + refreshes * refreshSeconds,
    peakBytes,
    trafficBytesPerStep: workers === 1 ? 0 : 2 * 4 * batch * dim * (workers - 1),
  };
}
