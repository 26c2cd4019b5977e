/**
 * What a step computes, in the terms that decide its time. The same sums are taken of plans (to predict), of measured
 * batches (profiles) and of the steps of an engine (timing logs), so that all three speak of one thing.
 */
import { ROW_EMITS, type StepPlan } from "../join/step-plan.ts";

/** The sums of one step. Counts are whole, pairs may have halves. */
export interface StepWork {
  /** Tokens of all chunks of more than one token. */
  readonly prefillTokens: number;
  readonly prefillRows: number;
  /** Pairs of query and key that a causal kernel computes for the chunks: sum of count * (start + count / 2). */
  readonly prefillPairs: number;
  /** The same for chunks of at least a tile, their count rounded up to whole tiles; 0 for shorter chunks. */
  readonly tilePairs: number;
  /** The pairs of chunks shorter than a tile: attention kernels compute them another way. */
  readonly shortPairs: number;
  /** Rows of one token: decodes, and chunks of one token, which are computed alike. */
  readonly decodeRows: number;
  /** Sum over decode rows of the known tokens, the one computed included. */
  readonly decodeContext: number;
  /** Columns of the output head: decode rows, and chunks that end their prompt. */
  readonly outputs: number;
  /** Page orders that had to be carried out before the step. */
  readonly mapped: number;
  /** 1 when the rows are not those of the step before: what was prepared for them cannot be used again. */
  readonly fresh: number;
}

/**
 * The work of the plans of one replica, in fields that are written anew by every call of `of`. Remembers the last plan that
 * has a ticket; plans without one are attempts of a scheduler.
 */
export class PlanWork implements StepWork {
  prefillTokens = 0;
  prefillRows = 0;
  prefillPairs = 0;
  tilePairs = 0;
  shortPairs = 0;
  decodeRows = 0;
  decodeContext = 0;
  outputs = 0;
  mapped = 0;
  fresh = 0;
  private readonly tile: number;
  /** Rows of the last plan that was submitted; -1 when it held chunks. */
  private before = -1;

  /** `tile`: query rows of one tile of the attention kernel; 1 = chunks of all lengths are computed alike. */
  constructor(tile: number) {
    this.tile = tile;
  }

  /** Sums a plan up. O(prefill rows), allocates nothing. */
  of(plan: StepPlan): this {
    this.prefillTokens = plan.prefillTokens;
    this.prefillRows = plan.prefill.n;
    this.prefillPairs = 0;
    this.tilePairs = 0;
    this.shortPairs = 0;
    this.decodeRows = plan.decodeRows;
    this.decodeContext = plan.decodeContext;
    this.outputs = plan.decodeRows;
    this.mapped = plan.kvBefore.n;
    const { data, n } = plan.prefill;
    for (let i = 0; i < n; i++) {
      const row = data[i] as number;
      if (((plan.flags[row] as number) & ROW_EMITS) !== 0) this.outputs++;
      this.addChunk(plan.start[row] as number, plan.count[row] as number);
    }
    // Rows come only with chunks, so that as many rows without any are the same ones.
    const rows = n > 0 ? -1 : plan.rows;
    this.fresh = rows === -1 || rows !== this.before ? 1 : 0;
    if (plan.ticket >= 0) this.before = rows;
    return this;
  }

  private addChunk(start: number, count: number): void {
    if (count === 1) {
      this.prefillTokens--;
      this.prefillRows--;
      this.decodeRows++;
      this.decodeContext += start + 1;
      return;
    }
    this.prefillPairs += count * (start + count / 2);
    this.tilePairs += tilePairsOf(start, count, this.tile);
    if (count < this.tile) this.shortPairs += count * (start + count / 2);
  }
}

/** Pairs of one chunk with its count rounded up to whole tiles; 0 when it is shorter than one. */
export function tilePairsOf(start: number, count: number, tile: number): number {
  return count < tile ? 0 : Math.ceil(count / tile) * tile * (start + count / 2);
}
