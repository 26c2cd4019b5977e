/**
 * Block tables (PagedAttention, Kwon et al. 2023): which block of the pool holds which tokens of a slot. Blocks are taken
 * when a slot reaches them and go back when its tokens are forgotten. The pool never runs dry: it holds every slot in full.
 */
import { invariant } from "@millrace/core";

export class BlockTables {
  readonly blockTokens: number;
  /** Blocks of the pool. */
  readonly blocks: number;
  readonly #perSlot: number;
  readonly #table: Int32Array;
  readonly #held: Int32Array;
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(slots: number, slotTokens: number, blockTokens: number) {
    this.blockTokens = blockTokens;
    this.#perSlot = Math.ceil(slotTokens / blockTokens);
    this.blocks = slots * this.#perSlot;
    this.#table = new Int32Array(this.blocks);
    this.#held = new Int32Array(slots);
    this.#free = Int32Array.from({ length: this.blocks }, (_, i) => this.blocks - 1 - i);
    this.#freeCount = this.blocks;
  }

  /** Blocks that hold tokens. */
  get used(): number {
    return this.blocks - this.#freeCount;
  }

  /** Gives a slot room for exactly `tokens` tokens; the last blocks come and go first. */
  hold(slot: number, tokens: number): void {
    const wanted = Math.ceil(tokens / this.blockTokens);
    const base = slot * this.#perSlot;
    let held = this.#held[slot] as number;
    while (held > wanted) this.#free[this.#freeCount++] = this.#table[base + --held] as number;
    while (held < wanted) {
      invariant(this.#freeCount > 0, "the pool holds every slot in full");
      this.#table[base + held++] = this.#free[--this.#freeCount] as number;
    }
    this.#held[slot] = held;
  }

  /** Row of the pool that holds a token; its block must be held. */
  row(slot: number, position: number): number {
    const page = Math.floor(position / this.blockTokens);
    const block = this.#table[slot * this.#perSlot + page] as number;
    return block * this.blockTokens + (position - page * this.blockTokens);
  }
}
