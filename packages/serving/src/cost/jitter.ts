/**
 * How steps of a real engine scatter around their predicted time, as it was seen under a load: for each kind of step the
 * quantiles of measured over predicted, and the order of ranks, because a slow step is mostly followed by slow ones. A
 * twin that gives every step its mean predicts tails that are too short.
 */
import { Rng } from "@millrace/core";
import type { StepCostModel } from "../join/contracts.ts";
import type { SeqTable } from "../join/seq-table.ts";
import type { StepPlan } from "../join/step-plan.ts";
import { countBelow } from "./ranks.ts";
import type { StepWork } from "./step-work.ts";

export interface StepJitter {
  /** By group of `jitterGroup`: measured over predicted seconds at even ranks from 0 to 1; their mean is 1. */
  readonly factors: readonly (readonly number[])[];
  /** Ranks (0 … RANKS) within their groups of steps that followed each other. */
  readonly ranks: readonly number[];
}

/** A step that was both predicted and measured. */
export interface ScatteredStep {
  readonly group: number;
  /** Measured over predicted. */
  readonly ratio: number;
}

/** Steps of one decode, of two to four, of more, and steps with chunks. */
export const JITTER_GROUPS = 4;
const FEW_DECODES = 4;
const RANKS = 1000;
/** Values kept of each group. */
const LEVELS = 101;
/** Steps that a group needs to have a scatter of its own; with fewer it has that of all. */
const FEWEST = 30;
/** Ranks kept; more only make the file longer. */
const MOST_RANKS = 4096;

/** Kind of a step by its decode rows and whether it computes a chunk. */
export function jitterGroup(decodeRows: number, chunks: boolean): number {
  if (chunks) return JITTER_GROUPS - 1;
  return decodeRows <= 1 ? 0 : decodeRows <= FEW_DECODES ? 1 : 2;
}

/** Of the sums of a step. */
export function jitterGroupOf({ decodeRows, prefillRows }: StepWork): number {
  return jitterGroup(decodeRows, prefillRows > 0);
}

/** Keeps the scatter of steps in the order they ran; null when there are fewer than 30. */
export function fitJitter(steps: readonly ScatteredStep[]): StepJitter | null {
  if (steps.length < FEWEST) return null;
  const all = sortedRatios(steps);
  const groups = Array.from({ length: JITTER_GROUPS }, (_, g) => {
    const own = sortedRatios(steps.filter(({ group }) => group === g));
    return own.length < FEWEST ? all : own;
  });
  return {
    factors: groups.map((sorted) => {
      const levels = Array.from({ length: LEVELS }, (_, i) => between(sorted, i / (LEVELS - 1)));
      const mean = meanOf(levels);
      return levels.map((level) => Number((level / mean).toPrecision(5)));
    }),
    ranks: steps.slice(0, MOST_RANKS).map(({ group, ratio }) => {
      const sorted = groups[group] as Float64Array;
      return Math.round((RANKS * countBelow(sorted, ratio)) / Math.max(1, sorted.length - 1));
    }),
  };
}

/** A cost model whose steps scatter as they were seen to. Deterministic in the seed; one run each. */
export class JitteredCost implements StepCostModel {
  private readonly base: StepCostModel;
  private readonly jitter: StepJitter;
  private at: number;

  /** The scatter is replayed from a place that the seed draws. */
  constructor(base: StepCostModel, jitter: StepJitter, seed: number | string) {
    this.base = base;
    this.jitter = jitter;
    this.at = new Rng(seed).int(0, Math.max(0, jitter.ranks.length - 1));
  }

  stepSeconds(plan: StepPlan, table: SeqTable, stage: number): number {
    const { factors, ranks } = this.jitter;
    // A prompt's last token alone is computed as a decode is.
    const group = jitterGroup(plan.rows, plan.prefillTokens > plan.prefill.n);
    const rank = ranks[this.at] as number;
    this.at = (this.at + 1) % ranks.length;
    return (
      between(factors[group] as readonly number[], rank / RANKS) *
      this.base.stepSeconds(plan, table, stage)
    );
  }
}

function sortedRatios(steps: readonly ScatteredStep[]): Float64Array {
  return Float64Array.from(steps, ({ ratio }) => ratio).sort();
}

/** Linear between values at even ranks. */
function between(values: ArrayLike<number>, q: number): number {
  const x = q * (values.length - 1);
  const low = Math.floor(x);
  const a = values[low] as number;
  return low + 1 < values.length ? a + (x - low) * ((values[low + 1] as number) - a) : a;
}

/** Mean of the lines between the levels. */
function meanOf(levels: readonly number[]): number {
  const ends = ((levels[0] as number) + (levels.at(-1) as number)) / 2;
  return (levels.reduce((sum, x) => sum + x, 0) - ends) / (levels.length - 1);
}
