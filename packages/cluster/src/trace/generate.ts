/**
 * Synthetic traces of training jobs, by the rules of the Synergy experiments (durations as in Gavel, OSDI 2020), and a
 * form with the daily and weekly rhythm, the bursts and the GPU counts of large shared clusters (Jeon et al., ATC 2019).
 */
import { MillraceError, Rng } from "@millrace/core";
import type { TraceJob } from "./job-trace.ts";

/** A class of models with its part of the jobs. */
export interface ModelClass {
  readonly name: string;
  /** Models, taken in turn. */
  readonly models: readonly string[];
  /** Parts are relative to their sum. */
  readonly part: number;
}

/** The models of the published experiments. */
export const synergyClasses = {
  image: ["alexnet", "res18", "res50", "mobilenet", "shufflenet"],
  language: ["gnmt", "transformer", "lstm"],
  speech: ["m5", "deepspeech"],
} as const;

/** Their classes with these parts, e.g. 20:70:10. */
export function synergyMix(image: number, language: number, speech: number): readonly ModelClass[] {
  const { image: i, language: l, speech: s } = synergyClasses;
  return [
    { name: "image", models: i, part: image },
    { name: "language", models: l, part: language },
    { name: "speech", models: s, part: speech },
  ];
}

/** GPU counts with their probabilities; the rest of 1 goes to the last. */
export type GpuCounts = readonly (readonly [gpus: number, probability: number])[];

/** GPU counts of the published experiments, and those of a large shared cluster. */
export const gpuCounts = {
  single: [[1, 1]],
  multi: [
    [1, 0.7],
    [2, 0.1],
    [4, 0.15],
    [8, 0.05],
  ],
  philly: [
    [1, 0.82],
    [2, 0.05],
    [4, 0.06],
    [8, 0.05],
    [16, 0.02],
  ],
} as const satisfies Record<string, GpuCounts>;

/** When jobs arrive. */
export type Arrivals =
  | { readonly kind: "static" }
  | { readonly kind: "poisson"; readonly jobsPerHour: number }
  /** Poisson with a rate that swings by day and week, and jobs that come in groups of one user. */
  | { readonly kind: "philly"; readonly jobsPerHour: number };

/** What to generate. */
export interface TraceSpec {
  readonly jobs: number;
  readonly seed: number;
  readonly arrivals: Arrivals;
  readonly classes: readonly ModelClass[];
  readonly gpus: GpuCounts;
  /** `gavel` (default): to a week. `short`: to eight hours, as in the experiments on real machines. */
  readonly lengths?: "gavel" | "short";
  /** Whose jobs they are, drawn in equal parts; none by default. */
  readonly tenants?: readonly string[];
  /** Data sets that the jobs of a class share, drawn in equal parts; 0 (default): each job has its own. */
  readonly datasetsPerClass?: number;
  /** Seconds of an iteration at the proportional share, by model. */
  readonly iterationSeconds: (model: string) => number;
}

/**
 * Draws a trace; equal specs give equal traces. Lengths at the proportional share: four in five 60 * 10^U(1.5, 3) s, the
 * others 60 * 10^U(3, 4) s, 16.8 h on average, unless `lengths` is short. A job's class is the one furthest below its part. Arrivals are whole seconds.
 */
export function generateTrace(spec: TraceSpec): readonly TraceJob[] {
  const rng = new Rng(spec.seed);
  const lengths = rng.fork("lengths");
  const sizes = rng.fork("gpus");
  const owners = rng.fork("tenants");
  const data = rng.fork("datasets");
  const { tenants = [], datasetsPerClass = 0 } = spec;
  const next = arrivalsOf(spec.arrivals, rng.fork("arrivals"));
  const models = modelSequence(spec.classes);
  return Array.from({ length: spec.jobs }, (_, id) => {
    const { model, name: className } = models();
    const long = lengths.next() >= 0.8;
    const [low, high] = exponents[spec.lengths ?? "gavel"][long ? 1 : 0];
    const exponent = low + (high - low) * lengths.next();
    const iterations = Math.floor((60 * 10 ** exponent) / spec.iterationSeconds(model));
    return {
      id,
      model,
      arrivalSeconds: next(),
      iterations: Math.max(1, iterations),
      gpus: draw(spec.gpus, sizes.next()),
      ...(tenants.length > 0 && { tenant: tenants[owners.int(0, tenants.length - 1)] as string }),
      ...(datasetsPerClass > 0 && {
        dataset: `${className}-${data.int(1, datasetsPerClass)}`,
      }),
    };
  });
}

/** Minutes at the share are 10 to a power between these: four in five jobs, the fifth. */
const exponents = {
  gavel: [
    [1.5, 3],
    [3, 4],
  ],
  short: [
    [1.5, 2.5],
    [2.5, 2.7],
  ],
} as const;

/** Mean seconds of a generated job at its proportional share. */
export const meanJobSeconds =
  (60 * 0.8 * (10 ** 3 - 10 ** 1.5)) / (1.5 * Math.LN10) +
  (60 * 0.2 * (10 ** 4 - 10 ** 3)) / Math.LN10;

function draw(counts: GpuCounts, at: number): number {
  let sum = 0;
  for (const [gpus, probability] of counts) {
    sum += probability;
    if (at < sum) return gpus;
  }
  return counts.at(-1)?.[0] ?? 1;
}

/** The next model with its class: of the class that is furthest below its part, in turn. */
function modelSequence(
  classes: readonly ModelClass[],
): () => { readonly model: string; readonly name: string } {
  const whole = classes.reduce((sum, { part }) => sum + part, 0);
  const used = classes.filter(({ part, models }) => part > 0 && models.length > 0);
  if (used.length === 0 || !(whole > 0))
    throw new MillraceError("USAGE", "no class of models has a part of the jobs above 0");
  const counts = used.map(() => 0);
  let total = 0;
  return () => {
    let furthest = 0;
    let most = Number.NEGATIVE_INFINITY;
    used.forEach(({ part }, i) => {
      const missing = (part / whole) * (total + 1) - (counts[i] as number);
      if (missing > most + 1e-12) {
        most = missing;
        furthest = i;
      }
    });
    const { models, name } = used[furthest] as ModelClass;
    const count = counts[furthest] as number;
    counts[furthest] = count + 1;
    total++;
    return { model: models[count % models.length] as string, name };
  };
}

function arrivalsOf(arrivals: Arrivals, rng: Rng): () => number {
  let at = 0;
  if (arrivals.kind === "static") return () => 0;
  const perSecond = arrivals.jobsPerHour / 3600;
  if (!(perSecond > 0))
    throw new MillraceError("USAGE", `${arrivals.jobsPerHour} jobs per hour is not above 0`);
  if (arrivals.kind === "poisson")
    return () => {
      at += Math.ceil(rng.exponential(perSecond));
      return at;
    };
  return phillyArrivals(perSecond, rng);
}

/** Mean jobs of a submission: most users send one, some send sweeps. */
const meanGroup = 0.85 * 1 + 0.15 * 6;

/** Thinned Poisson submissions whose rate peaks in the afternoon and halves at weekends; a submission is 1 or 2 ... 10 jobs. */
function phillyArrivals(perSecond: number, rng: Rng): () => number {
  const day = 86_400;
  const weekly = (at: number) => (Math.floor(at / day) % 7 >= 5 ? 0.5 : 1.2);
  const daily = (at: number) =>
    1 + 0.6 * Math.sin((2 * Math.PI * (at / day - 0.375)) % (2 * Math.PI));
  const submissions = perSecond / meanGroup;
  const peak = submissions * 1.2 * 1.6;
  let at = 0;
  let left = 0;
  return () => {
    if (left > 0) {
      left--;
      return Math.ceil(at);
    }
    do at += rng.exponential(peak);
    while (rng.next() * peak > submissions * weekly(at) * daily(at));
    left = rng.next() < 0.85 ? 0 : rng.int(2, 10) - 1;
    return Math.ceil(at);
  };
}
