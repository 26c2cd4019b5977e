/**
 * How many prefill tokens Sarathi-Serve may add to the batch at hand. Four ways, one question: how large may the next
 * chunk of this sequence be, given what the plan holds already?
 */
import { invariant } from "@millrace/core";
import type { StepCostModel } from "../join/contracts.ts";
import type { Seq, SeqTable } from "../join/seq-table.ts";
import type { StepPlan } from "../join/step-plan.ts";

export interface ChunkBudget {
  /** Tokens that the sequence's next chunk may have, 0 = none in this batch. May be more than the prompt has left. */
  chunk(plan: StepPlan, table: SeqTable, seq: Seq): number;
}

/** One token budget per batch that decodes count against (Sarathi-Serve section 4.3, Vidur's `sarathi`). */
export class StaticBudget implements ChunkBudget {
  private readonly tokens: number;

  constructor(tokens: number) {
    this.tokens = tokens;
  }

  chunk(plan: StepPlan): number {
    const left = this.tokens - plan.tokens;
    return left > 0 ? left : 0;
  }
}

/**
 * A chunk of fixed size with decodes on top: the chunk stays a multiple of the tile whatever the number of decodes, so
 * matrix products of the prefill waste no part of a tile.
 */
export class ChunkPlusDecodesBudget implements ChunkBudget {
  private readonly tokens: number;

  constructor(tokens: number, tile: number) {
    this.tokens = Math.max(tile, Math.floor(tokens / tile) * tile);
  }

  chunk(plan: StepPlan): number {
    const left = this.tokens - plan.prefillTokens;
    return left > 0 ? left : 0;
  }
}

/**
 * Dynamic by stage: a prompt is cut into large chunks first and smaller ones as its context grows, so that attention
 * over a longer context does not lengthen the batch. Sizes fall evenly from high to low over `stages`, each rounded to
 * a multiple of min(32, low).
 */
export class DynamicBudget implements ChunkBudget {
  private readonly sizes: Int32Array;
  private readonly stageTokens: number;

  constructor(options: {
    readonly low: number;
    readonly high: number;
    readonly stages: number;
    readonly maxTokens: number;
  }) {
    const { low, high, stages, maxTokens } = options;
    invariant(
      stages >= 1 && low >= 1 && high >= low,
      "dynamic chunking needs 1 <= low <= high and at least one stage",
    );
    const unit = Math.min(32, low);
    this.sizes = Int32Array.from({ length: stages }, (_, i) => {
      const size = stages === 1 ? high : Math.floor(high - ((high - low) * i) / (stages - 1));
      // Half to even, as numpy rounds in Sarathi-Serve's code.
      const down = Math.floor(size / unit);
      const rest = size / unit - down;
      const units = rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
      return Math.max(unit, units * unit);
    });
    this.stageTokens = Math.ceil(maxTokens / stages);
  }

  chunk(plan: StepPlan, table: SeqTable, seq: Seq): number {
    // A prompt longer than maxTokens stays in the last stage instead of failing.
    const stage = Math.min(
      this.sizes.length - 1,
      Math.floor(table.computed[seq]! / this.stageTokens),
    );
    const left = this.sizes[stage]! - plan.tokens;
    return left > 0 ? left : 0;
  }
}

/**
 * SLO-driven: the largest chunk, a multiple of the tile, with which the cost model still predicts a step within the TBT
 * target. A batch without decodes delays nobody's next token and takes the whole limit. One tile is always allowed, so
 * that prompts progress even when decodes alone are beyond the target.
 */
export class SloBudget implements ChunkBudget {
  private readonly cost: StepCostModel;
  private readonly targetTbt: number;
  private readonly tile: number;
  private readonly limit: number;
  private readonly stages: number;

  constructor(
    cost: StepCostModel,
    options: {
      readonly targetTbt: number;
      readonly tile: number;
      readonly limit: number;
      readonly stages: number;
    },
  ) {
    this.cost = cost;
    this.targetTbt = options.targetTbt;
    this.tile = options.tile;
    this.limit = Math.max(options.tile, options.limit);
    this.stages = options.stages;
  }

  chunk(plan: StepPlan, table: SeqTable, seq: Seq): number {
    const left = Math.min(
      this.limit - plan.prefillTokens,
      table.prefillTarget[seq]! - table.computed[seq]!,
    );
    if (left <= 0) return 0;
    if (plan.decodeRows === 0) return left;
    if (this.seconds(plan, table, seq, left) <= this.targetTbt) return left;
    let fits = 0;
    let tiles = Math.ceil(left / this.tile);
    while (tiles - fits > 1) {
      const middle = (fits + tiles) >> 1;
      if (this.seconds(plan, table, seq, middle * this.tile) <= this.targetTbt) fits = middle;
      else tiles = middle;
    }
    if (fits > 0) return fits * this.tile;
    return plan.prefillTokens === 0 ? this.tile : 0;
  }

  /** Predicted seconds between tokens of a decode in the batch: the sum of the stages of the plan with the chunk added. */
  private seconds(plan: StepPlan, table: SeqTable, seq: Seq, count: number): number {
    plan.addPrefill(seq, table.computed[seq]!, count, false);
    let sum = 0;
    for (let stage = 0; stage < this.stages; stage++)
      sum += this.cost.stepSeconds(plan, table, stage);
    plan.dropPrefill();
    return sum;
  }
}
