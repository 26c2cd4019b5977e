/** The arms of the study: what each differs in from the recipe, and which of them are tuned. */
import { defaultTrainOptions, presets, type TrainOptions } from "../train/options.ts";

/** Learning rates of the label vectors. Every tuned arm tries the middle three on held-out points, and goes on while the best is the outermost. */
export const rates = [0.005, 0.008, 0.0125, 0.02, 0.03, 0.05, 0.08, 0.125, 0.2, 0.3] as const;
/** Index of the first and of the last rate that every tuned arm tries. */
export const firstTried = 4;
export const lastTried = 6;

export interface Arm {
  readonly name: string;
  readonly options: Partial<TrainOptions>;
  /** Tuned by itself, with the rate of another arm, or with that of its options or the recipe. */
  readonly rate: "tuned" | "recipe" | string;
  /** Runs on the test points. */
  readonly seeds: 1 | 3;
}

/** The shortlists as they are, without a fresh look at each visit: what staleness does is seen there. */
const plain = { shortlist: 32, rescore: 0, refreshEvery: 3 } as const;

/** In the order in which they are run, an arm after the one whose rate it takes; further seeds come after all first ones. */
export const arms: readonly Arm[] = [
  { name: "astra", options: {}, rate: "tuned", seeds: 3 },
  {
    name: "hard",
    options: { ...plain, sampler: "hard", hardWeight: 1 },
    rate: "tuned",
    seeds: 3,
  },
  { name: "uniform", options: { sampler: "uniform", uniform: 592 }, rate: "tuned", seeds: 3 },
  {
    name: "uniform, equal CPU",
    options: { sampler: "uniform", uniform: 1536 },
    rate: "uniform",
    seeds: 3,
  },
  { name: "period 3", options: { ...plain }, rate: "astra", seeds: 3 },
  { name: "weight 1", options: { ...plain, hardWeight: 1 }, rate: "astra", seeds: 3 },
  { name: "weight 0.1", options: { ...plain, hardWeight: 0.1 }, rate: "astra", seeds: 3 },
  { name: "period 9", options: { ...plain, refreshEvery: 9 }, rate: "astra", seeds: 1 },
  { name: "period 1", options: { ...plain, refreshEvery: 1 }, rate: "astra", seeds: 1 },
  {
    name: "weight 1, period 9",
    options: { ...plain, hardWeight: 1, refreshEvery: 9 },
    rate: "astra",
    seeds: 1,
  },
  {
    name: "weight 1, period 1",
    options: { ...plain, hardWeight: 1, refreshEvery: 1 },
    rate: "astra",
    seeds: 1,
  },
  {
    name: "astra, 256 dimensions",
    options: { ...defaultTrainOptions, ...presets.accurate },
    rate: "recipe",
    seeds: 3,
  },
  { name: "full", options: { sampler: "full", lrEncoder: 0.2 }, rate: "recipe", seeds: 3 },
  {
    name: "importance",
    options: { sampler: "importance", hardWeight: 1, refreshEvery: 3 },
    rate: "tuned",
    seeds: 1,
  },
  {
    name: "importance, unbiased",
    options: { sampler: "importance", hardWeight: 1, refreshEvery: 3, alpha: 1 },
    rate: "tuned",
    seeds: 1,
  },
  { name: "residual encoder", options: { encoder: "residual" }, rate: "astra", seeds: 1 },
];

/** What a quick look runs. */
export const quickArms: readonly string[] = ["astra", "hard", "uniform", "full"];
