/**
 * Step cost regressed from a profile of one's own engine: a curve over tokens with the cliffs that were measured, the output
 * head, terms for attention and rows, and what the serving loop adds where that was measured. All weights are non-negative.
 */
import { MillraceError } from "@millrace/core";
import type { StepCostModel } from "../join/contracts.ts";
import type { SeqTable } from "../join/seq-table.ts";
import type { StepPlan } from "../join/step-plan.ts";
import { type FitError, fitError } from "./fit-error.ts";
import { LOOP_BUCKETS, type LoopCost, type StepPoint, type StepProfile } from "./profile.ts";
import {
  FIRST_DECODES,
  fitProfile,
  headShareOf,
  type ProfileFit,
  type Terms,
} from "./profile-fit.ts";
import { PlanWork, type StepWork } from "./step-work.ts";

/** Share by which a step may exceed the measured range before it counts as extrapolated. */
const SLACK = 1.05;
const FOLDS = 5;

const NO_LOOP: LoopCost = {
  decode: new Array(LOOP_BUCKETS.decode.length + 1).fill(1),
  prefill: new Array(LOOP_BUCKETS.prefill.length + 1).fill(1),
  step: 0,
  freshDecode: 0,
  prefillShare: 0,
  decodeRow: 0,
  prefillRow: 0,
  mapped: 0,
  steps: 0,
  jitter: null,
};

/** A share of a step's time. */
interface Part {
  readonly operator: string;
  readonly seconds: number;
}

/** Step cost from a `millrace.profile/1`. Throws PROFILE_INVALID for a parallelism that one engine cannot have measured. */
export class ProfileCost implements StepCostModel {
  extrapolatedSteps = 0;
  readonly unfitted: readonly string[];
  private readonly profile: StepProfile;
  private readonly fit: ProfileFit;
  private readonly terms: Terms;
  private readonly loop: LoopCost;
  /** One per replica: the last one asked for, and all. */
  private work: PlanWork;
  private table: SeqTable | null = null;
  private readonly works = new WeakMap<SeqTable, PlanWork>();
  private readonly most: StepWork;
  private readonly mostTokens: number;
  private held: FitError | null = null;

  constructor(profile: StepProfile, tensorParallel = 1, pipelineParallel = 1) {
    if (tensorParallel * pipelineParallel !== 1)
      throw new MillraceError(
        "PROFILE_INVALID",
        `the profile of ${profile.machine} is of one device, but tensorParallel is ${tensorParallel} and pipelineParallel ${pipelineParallel}`,
        { hint: "Set both to 1, or use the roofline predictor." },
      );
    this.profile = profile;
    const { points } = profile;
    this.fit = fitProfile(points, headShareOf(profile.geometry));
    this.terms = this.fit.terms;
    this.loop = profile.loop ?? NO_LOOP;
    this.unfitted = profile.loop === null ? ["serving loop"] : [];
    this.work = new PlanWork(profile.tileTokens);
    const most = (of: (p: StepPoint) => number): number =>
      SLACK * points.reduce((high, p) => Math.max(high, of(p)), 0);
    this.mostTokens = this.fit.byTokens.length - 1;
    this.most = {
      prefillTokens: most((p) => p.prefillTokens),
      prefillRows: Number.POSITIVE_INFINITY,
      prefillPairs: most((p) => p.prefillPairs),
      tilePairs: Number.POSITIVE_INFINITY,
      shortPairs: Number.POSITIVE_INFINITY,
      decodeRows: most((p) => p.decodeRows),
      decodeContext: most((p) => p.decodeContext),
      outputs: Number.POSITIVE_INFINITY,
      mapped: Number.POSITIVE_INFINITY,
      fresh: 1,
    };
  }

  /** Errors of points that the fit had not seen (five folds), in percent. Fits five times when first asked for. */
  get heldOut(): FitError {
    this.held ??= heldOut(this.profile);
    return this.held;
  }

  stepSeconds(plan: StepPlan, table: SeqTable, stage: number): number {
    const work = this.workOf(table).of(plan);
    if (stage === 0 && this.beyond(work)) this.extrapolatedSteps++;
    return this.workSeconds(work);
  }

  /** The time of a step of which only the sums are known: computation and serving loop. */
  workSeconds(work: StepWork): number {
    return this.factor(work) * (this.computeSeconds(work) + this.loopSeconds(work));
  }

  /** The time of the batch in a tight loop, as profiled. */
  computeSeconds(work: StepWork): number {
    const { terms } = this;
    return (
      this.tokenSeconds(work.prefillTokens + work.decodeRows) +
      terms.tilePair * work.tilePairs +
      terms.shortPair * work.shortPairs +
      terms.prefillRow * work.prefillRows +
      this.headSeconds(work) +
      this.decodeSeconds(work) +
      terms.decodeToken * work.decodeContext +
      terms.fresh * work.fresh
    );
  }

  breakdown(plan: StepPlan, table: SeqTable): readonly Part[] {
    const work = this.workOf(table).of(plan);
    const { terms } = this;
    const factor = this.factor(work);
    const base = this.fit.byTokens[0] as number;
    const tokens = this.tokenSeconds(work.prefillTokens + work.decodeRows);
    const parts: Part[] = [
      { operator: "step", seconds: factor * (base + terms.fresh * work.fresh) },
      { operator: "tokens", seconds: factor * (tokens - base) },
      {
        operator: "attn_prefill",
        seconds: factor * (terms.tilePair * work.tilePairs + terms.shortPair * work.shortPairs),
      },
      { operator: "attn_decode", seconds: factor * terms.decodeToken * work.decodeContext },
      {
        operator: "rows",
        seconds: factor * (terms.prefillRow * work.prefillRows + this.decodeSeconds(work)),
      },
      { operator: "lm_head", seconds: factor * this.headSeconds(work) },
      { operator: "serving_loop", seconds: factor * this.loopSeconds(work) },
    ];
    return parts.filter((part) => part.seconds !== 0);
  }

  describe(): string {
    const { model, machine, threads, date, points, loop } = this.profile;
    const serving =
      loop === null ? "serving loop not measured" : `serving loop from ${loop.steps} steps`;
    return `profile of ${model} on ${machine}, ${threads} threads, ${date} (${points.length} points, held-out error p50 ${this.heldOut.p50.toFixed(1)} %, p90 ${this.heldOut.p90.toFixed(1)} %; ${serving})`;
  }

  private workOf(table: SeqTable): PlanWork {
    if (table === this.table) return this.work;
    this.table = table;
    const known = this.works.get(table);
    this.work = known ?? new PlanWork(this.profile.tileTokens);
    if (known === undefined) this.works.set(table, this.work);
    return this.work;
  }

  private factor(work: StepWork): number {
    const chunk = work.prefillRows > 0;
    const factors = chunk ? this.loop.prefill : this.loop.decode;
    return factors[loopBucket(work)] as number;
  }

  private loopSeconds(work: StepWork): number {
    const { loop } = this;
    return (
      loop.step +
      (work.prefillRows > 0
        ? loop.prefillShare * this.computeSeconds(work)
        : loop.freshDecode * work.fresh) +
      loop.decodeRow * work.decodeRows +
      loop.prefillRow * work.prefillRows +
      loop.mapped * work.mapped
    );
  }

  private headSeconds({ outputs }: StepWork): number {
    return outputs === 0 ? 0 : this.fit.headShare * this.tokenSeconds(outputs);
  }

  private decodeSeconds({ decodeRows }: StepWork): number {
    const { terms } = this;
    return terms.decodeRow * decodeRows + terms.firstDecode * Math.min(decodeRows, FIRST_DECODES);
  }

  private tokenSeconds(tokens: number): number {
    const { byTokens, slope } = this.fit;
    if (tokens <= this.mostTokens) return byTokens[tokens] as number;
    return (byTokens[this.mostTokens] as number) + (tokens - this.mostTokens) * slope;
  }

  private beyond(work: StepWork): boolean {
    const { most } = this;
    return (
      work.prefillTokens + work.decodeRows > this.mostTokens * SLACK ||
      work.prefillPairs > most.prefillPairs ||
      work.decodeRows > most.decodeRows ||
      work.decodeContext > most.decodeContext
    );
  }
}

/** Index of the factor of LoopCost that holds for a step. */
export function loopBucket(work: StepWork): number {
  const borders: readonly number[] =
    work.prefillRows > 0 ? LOOP_BUCKETS.prefill : LOOP_BUCKETS.decode;
  const tokens = work.prefillTokens + work.decodeRows;
  let i = 0;
  while (i < borders.length && tokens > (borders[i] as number)) i++;
  return i;
}

function heldOut({ points, geometry }: StepProfile): FitError {
  const folds = Math.min(FOLDS, points.length);
  const errors: number[] = [];
  for (let fold = 0; fold < folds; fold++) {
    const rest = points.filter((_, i) => i % folds !== fold);
    const cost = new ProfileCost({ ...EMPTY, geometry, points: rest });
    points.forEach((p, i) => {
      if (i % folds === fold) errors.push(Math.abs(cost.computeSeconds(p) / p.seconds - 1));
    });
  }
  return fitError(errors);
}

const EMPTY: StepProfile = {
  schema: "millrace.profile/1",
  model: "",
  machine: "",
  threads: 1,
  engine: "",
  date: "",
  units: { time: "s", length: "token" },
  tileTokens: 1,
  geometry: null,
  points: [],
  operators: [],
  loop: null,
  transport: null,
};
