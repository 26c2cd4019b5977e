/**
 * Step costs of a server that tells nothing but its tokens: a profile is fitted to the steps that are read off its streams,
 * with how far sums of step times may be off. Nothing is assumed about the engine but continuous batching; how many prompt
 * tokens it takes per step is estimated.
 */
import { MillraceError, median, quantileSorted, Rng } from "@millrace/core";
import { type ObservedStep, type ObservedStream, stepsOfRun } from "./black-box-steps.ts";
import { seenLengths, type Uncertainty, uncertaintyOf } from "./black-box-uncertainty.ts";
import type { StepPoint, StepProfile } from "./profile.ts";
import { STEP_PROFILE_SCHEMA } from "./profile.ts";
import { ProfileCost } from "./profile-cost.ts";
import type { StepWork } from "./step-work.ts";

/** A prediction with the band of nine tenths that resampling leaves. */
export interface BandedStep {
  readonly work: StepWork;
  readonly seconds: number;
  readonly low: number;
  readonly high: number;
}

export interface BlackBoxFit extends Uncertainty {
  readonly profile: StepProfile;
  /** Prompt tokens per step that explain the times best; Infinity = whole prompts. */
  readonly chunkTokens: number;
  /** Whether decodes seem to count against them. */
  readonly decodesCount: boolean;
  /** Steps that could be read off the streams. */
  readonly steps: number;
  /** Absolute errors of steps that the fit had not seen, summed, over their time. */
  readonly heldOut: number;
  readonly bands: readonly BandedStep[];
}

type About = Pick<StepProfile, "model" | "machine" | "date">;

const CHUNKS = [64, 128, 256, 512, 1024, 2048, 4096, Number.POSITIVE_INFINITY];
/** Steps below which a fit says nothing. */
const FEWEST_STEPS = 200;
/** Steps of about the same work below which they are gathered more coarsely, or left out. */
const FEWEST_ALIKE = 4;
/** A step that took so many times as long as those like it was stopped by something else. */
const STOPPED = 5;
const RESAMPLES = 40;
/** Steps that are resampled together: neighbours are alike. */
const BLOCK = 50;

/**
 * Fits to one or more runs of one server; several loads and mixes of lengths make the profile hold for more, and known
 * better. Deterministic in the seed. Throws TRACE_INVALID when the streams hold too few steps.
 */
export function fitBlackBox(
  runs: readonly (readonly ObservedStream[])[],
  about: About,
  seed = 1,
): BlackBoxFit {
  const readings = runs.map(stepsOfRun);
  const tried = CHUNKS.flatMap((chunkTokens) =>
    [false, true].map((decodesCount) => {
      const steps = readings.map((read) => read(chunkTokens, decodesCount));
      return { chunkTokens, decodesCount, steps, error: heldOut(steps.flat(), about) };
    }),
  );
  const fewest = Math.min(...tried.map(({ steps }) => steps.flat().length));
  if (fewest < FEWEST_STEPS)
    throw new MillraceError(
      "TRACE_INVALID",
      `the streams hold ${fewest} steps in a row, but ${FEWEST_STEPS} are needed`,
      { hint: "record a longer run, with several requests at once" },
    );
  const best = tried.reduce((a, b) => (b.error < a.error ? b : a));
  const all = best.steps.flat();
  const read = runs.map((streams, i) => ({ streams, steps: best.steps[i] as Group }));
  const uncertain = uncertaintyOf(read, (steps) => costOf(steps, about));
  const seen = seenLengths(runs.flat());
  return {
    profile: { ...profileOf(all, about), ...uncertain, ...(seen === null ? {} : { seen }) },
    chunkTokens: best.chunkTokens,
    decodesCount: best.decodesCount,
    steps: all.length,
    heldOut: best.error,
    ...uncertain,
    bands: bandsOf(all, about, new Rng(seed)),
  };
}

function costOf(steps: readonly ObservedStep[], about: About): ProfileCost {
  return new ProfileCost(profileOf(steps, about));
}

/** Steps of about the same work as one point: means, for what must be right is the sum. */
function profileOf(steps: readonly ObservedStep[], about: About): StepProfile {
  return {
    schema: STEP_PROFILE_SCHEMA,
    ...about,
    threads: 1,
    engine: "black box: fitted to token times",
    units: { time: "s", length: "token" },
    tileTokens: 1,
    geometry: null,
    points: alike(steps).map(pointOf),
    operators: [],
    loop: null,
    transport: null,
  };
}

/** Steps gathered by their work: finely where there are many, else in powers of two; the few that remain are left out. */
function alike(steps: readonly ObservedStep[]): readonly (readonly ObservedStep[])[] {
  const fine = (n: number): number => (n < 8 ? n : 8 + Math.floor(4 * Math.log2(n / 8)));
  const coarse = (n: number): number => Math.ceil(Math.log2(n + 1));
  const [many, rare] = split(gathered(steps, fine));
  const [more, rest] = split(gathered(rare.flat(), coarse));
  const found = [...many, ...more];
  // A short run may have no two steps alike.
  return found.length >= FEWEST_ALIKE ? found : [...found, ...rest];
}

type Group = readonly ObservedStep[];

function split(groups: readonly Group[]): readonly [readonly Group[], readonly Group[]] {
  return [
    groups.filter(({ length }) => length >= FEWEST_ALIKE),
    groups.filter(({ length }) => length < FEWEST_ALIKE),
  ];
}

function gathered(steps: readonly ObservedStep[], bin: (n: number) => number): readonly Group[] {
  const groups = new Map<string, ObservedStep[]>();
  for (const step of steps) {
    const key = `${bin(step.prefillTokens)}/${bin(step.decodeRows)}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [step]);
    else group.push(step);
  }
  return [...groups.values()];
}

function pointOf(group: Group): StepPoint {
  const typical = median(group.map((s) => s.seconds));
  const own = group.filter(({ seconds }) => seconds <= STOPPED * typical);
  const mean = (of: (step: ObservedStep) => number): number =>
    own.reduce((sum, step) => sum + of(step), 0) / own.length;
  const prefillTokens = Math.round(mean((s) => s.prefillTokens));
  const decodeRows = Math.max(prefillTokens === 0 ? 1 : 0, Math.round(mean((s) => s.decodeRows)));
  const prefillRows = prefillTokens === 0 ? 0 : Math.max(1, Math.round(mean((s) => s.prefillRows)));
  return {
    prefillTokens,
    prefillRows,
    prefillPairs: mean((s) => s.prefillPairs),
    tilePairs: mean((s) => s.tilePairs),
    shortPairs: 0,
    decodeRows,
    decodeContext: Math.max(decodeRows, Math.round(mean((s) => s.decodeContext))),
    outputs: Math.min(prefillRows + decodeRows, Math.round(mean((s) => s.outputs))),
    mapped: 0,
    fresh: 0,
    seconds: mean((s) => s.seconds),
    repeats: own.length,
  };
}

/** Absolute errors of every second block of steps under a fit to the others, over the time of the steps. */
function heldOut(steps: readonly ObservedStep[], about: About): number {
  const half = (rest: number): readonly ObservedStep[] =>
    steps.filter((_, i) => Math.floor(i / BLOCK) % 2 === rest);
  const [seen, unseen] = [half(0), half(1)];
  if (unseen.length === 0) return Number.POSITIVE_INFINITY;
  const cost = costOf(seen, about);
  let [error, time] = [0, 0];
  for (const step of unseen) {
    error += Math.abs(cost.computeSeconds(step) - step.seconds);
    time += step.seconds;
  }
  return error / time;
}

/** Predictions of typical steps with their bands over resampled blocks of the runs. */
function bandsOf(steps: readonly ObservedStep[], about: About, rng: Rng): readonly BandedStep[] {
  const works = typicalSteps(steps);
  const cost = costOf(steps, about);
  const blocks = Math.ceil(steps.length / BLOCK);
  const seconds: number[][] = works.map(() => []);
  for (let n = 0; n < RESAMPLES; n++) {
    const drawn = Array.from({ length: blocks }, () => rng.int(0, blocks - 1));
    const again = costOf(
      drawn.flatMap((i) => steps.slice(i * BLOCK, (i + 1) * BLOCK)),
      about,
    );
    works.forEach((work, i) => {
      seconds[i]?.push(again.computeSeconds(work));
    });
  }
  return works.map((work, i) => {
    const sorted = Float64Array.from(seconds[i] as number[]).sort();
    return {
      work,
      seconds: cost.computeSeconds(work),
      low: quantileSorted(sorted, 0.05),
      high: quantileSorted(sorted, 0.95),
    };
  });
}

/** A lone decode, the median and the largest batch of decodes, and the median step with prompt tokens. */
function typicalSteps(steps: readonly ObservedStep[]): readonly StepWork[] {
  const pure = steps
    .filter((step) => step.prefillTokens === 0)
    .sort((a, b) => a.decodeRows - b.decodeRows);
  const mixed = steps
    .filter((step) => step.prefillTokens > 0)
    .sort((a, b) => a.prefillTokens - b.prefillTokens);
  const at = (list: readonly ObservedStep[], q: number): readonly ObservedStep[] => {
    const found = list[Math.floor(q * (list.length - 1))];
    return found === undefined ? [] : [found];
  };
  return [
    ...at(pure, 0),
    ...at(pure, 0.5),
    ...at(pure, 0.95),
    ...at(mixed, 0.5),
    ...at(mixed, 0.9),
  ];
}
