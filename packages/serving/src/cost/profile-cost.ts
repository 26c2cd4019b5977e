/**
 * Step cost regressed from a profile of one's own engine. All terms grow with the work and all weights are non-negative,
 * so predictions are positive and monotone between and beyond the measured points.
 */
import { MillraceError } from "@millrace/core";
import type { StepCostModel } from "../join/contracts.ts";
import type { SeqTable } from "../join/seq-table.ts";
import type { StepPlan } from "../join/step-plan.ts";
import { type FitError, fitError } from "./fit-error.ts";
import { nonNegativeLeastSquares } from "./non-negative.ts";
import type { StepPoint, StepProfile } from "./profile.ts";

/** Token counts at which the time per token may fall: small batches are bound by weights, large ones by arithmetic. */
const KNOTS = [2, 4, 8, 16, 32, 64, 128, 256, 512];
/** Features after those of the token count: prefill rows, pairs, decode rows, decode context. */
const OTHERS = 4;
/** Share by which a step may exceed the measured range before it counts as extrapolated. */
const SLACK = 1.05;
const FOLDS = 5;

/** A share of a step's time. */
interface Part {
  readonly operator: string;
  readonly seconds: number;
}

/** Step cost from a `millrace.profile/1`. Throws PROFILE_INVALID for a parallelism that one engine cannot have measured. */
export class ProfileCost implements StepCostModel {
  extrapolatedSteps = 0;
  readonly unfitted: readonly string[] = [];
  /** Errors of points that the fit had not seen (five folds), in percent. */
  readonly heldOut: FitError;
  private readonly profile: StepProfile;
  /** Seconds by tokens, 0 … most measured. */
  private readonly byTokens: Float64Array;
  private readonly slope: number;
  private readonly perPrefillRow: number;
  private readonly perPair: number;
  private readonly perDecodeRow: number;
  private readonly perContext: number;
  private readonly mostTokens: number;
  private readonly mostPairs: number;
  private readonly mostRows: number;
  private readonly mostContext: number;

  constructor(profile: StepProfile, tensorParallel = 1, pipelineParallel = 1) {
    if (tensorParallel * pipelineParallel !== 1)
      throw new MillraceError(
        "PROFILE_INVALID",
        `the profile of ${profile.machine} is of one device, but tensorParallel is ${tensorParallel} and pipelineParallel ${pipelineParallel}`,
        { hint: "Set both to 1, or use the roofline predictor." },
      );
    this.profile = profile;
    const { points } = profile;
    const weights = fit(points);
    this.heldOut = heldOut(points);
    const most = (of: (p: StepPoint) => number): number =>
      points.reduce((high, p) => Math.max(high, of(p)), 0);
    this.mostTokens = most((p) => p.prefillTokens + p.decodeRows);
    this.mostPairs = SLACK * most((p) => p.prefillPairs);
    this.mostRows = SLACK * most((p) => p.decodeRows);
    this.mostContext = SLACK * most((p) => p.decodeContext);
    this.byTokens = Float64Array.from({ length: this.mostTokens + 1 }, (_, t) =>
      tokenSeconds(weights, t),
    );
    this.slope = weights[1] as number;
    [this.perPrefillRow, this.perPair, this.perDecodeRow, this.perContext] = weights.slice(
      -OTHERS,
    ) as unknown as [number, number, number, number];
  }

  stepSeconds(plan: StepPlan, _table: SeqTable, stage: number): number {
    const pairs = pairsOf(plan);
    if (
      stage === 0 &&
      (plan.tokens > this.mostTokens * SLACK ||
        pairs > this.mostPairs ||
        plan.decodeRows > this.mostRows ||
        plan.decodeContext > this.mostContext)
    )
      this.extrapolatedSteps++;
    return (
      this.tokenPart(plan.tokens) +
      this.perPrefillRow * plan.prefill.n +
      this.perPair * pairs +
      this.perDecodeRow * plan.decodeRows +
      this.perContext * plan.decodeContext
    );
  }

  /** The time of a step of which only the totals are known. */
  pointSeconds(point: StepPoint): number {
    return (
      this.tokenPart(point.prefillTokens + point.decodeRows) +
      this.perPrefillRow * point.prefillRows +
      this.perPair * point.prefillPairs +
      this.perDecodeRow * point.decodeRows +
      this.perContext * point.decodeContext
    );
  }

  breakdown(plan: StepPlan): readonly Part[] {
    const parts: Part[] = [
      { operator: "step", seconds: this.byTokens[0] as number },
      { operator: "tokens", seconds: this.tokenPart(plan.tokens) - (this.byTokens[0] as number) },
      { operator: "attn_prefill", seconds: this.perPair * pairsOf(plan) },
      { operator: "attn_decode", seconds: this.perContext * plan.decodeContext },
      {
        operator: "rows",
        seconds: this.perPrefillRow * plan.prefill.n + this.perDecodeRow * plan.decodeRows,
      },
    ];
    return parts.filter((part) => part.seconds > 0);
  }

  describe(): string {
    const { model, machine, threads, date, points } = this.profile;
    return `profile of ${model} on ${machine}, ${threads} threads, ${date} (${points.length} points, held-out error p50 ${this.heldOut.p50.toFixed(1)} %, p90 ${this.heldOut.p90.toFixed(1)} %)`;
  }

  private tokenPart(tokens: number): number {
    if (tokens <= this.mostTokens) return this.byTokens[tokens] as number;
    return (this.byTokens[this.mostTokens] as number) + (tokens - this.mostTokens) * this.slope;
  }
}

/** Pairs of query and key of a causal kernel. */
function pairsOf(plan: StepPlan): number {
  const { data, n } = plan.prefill;
  let pairs = 0;
  for (let i = 0; i < n; i++) {
    const row = data[i] as number;
    const count = plan.count[row] as number;
    pairs += count * ((plan.start[row] as number) + count / 2);
  }
  return pairs;
}

function features(p: StepPoint): Float64Array {
  const tokens = p.prefillTokens + p.decodeRows;
  return Float64Array.from([
    1,
    tokens,
    ...KNOTS.map((knot) => Math.min(tokens, knot)),
    p.prefillRows,
    p.prefillPairs,
    p.decodeRows,
    p.decodeContext,
  ]);
}

function tokenSeconds(weights: Float64Array, tokens: number): number {
  let seconds = (weights[0] as number) + (weights[1] as number) * tokens;
  KNOTS.forEach((knot, i) => {
    seconds += (weights[2 + i] as number) * Math.min(tokens, knot);
  });
  return seconds;
}

/** Weights with least squared relative error. */
function fit(points: readonly StepPoint[]): Float64Array {
  const rows = points.map((p) => features(p).map((x) => x / p.seconds));
  return nonNegativeLeastSquares(rows, new Float64Array(points.length).fill(1));
}

function heldOut(points: readonly StepPoint[]): FitError {
  const folds = Math.min(FOLDS, points.length);
  const errors: number[] = [];
  for (let fold = 0; fold < folds; fold++) {
    const weights = fit(points.filter((_, i) => i % folds !== fold));
    points.forEach((p, i) => {
      if (i % folds !== fold) return;
      const predicted = features(p).reduce((sum, x, j) => sum + x * (weights[j] as number), 0);
      errors.push(Math.abs(predicted / p.seconds - 1));
    });
  }
  return fitError(errors);
}
