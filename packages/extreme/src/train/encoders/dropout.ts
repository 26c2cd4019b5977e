/** Inverted dropout in place, by four generators that start from a stream. */
import type { Rng } from "@millrace/core";
import { type Block, type Heap, ints } from "../../kernels/heap.ts";

export class Dropout {
  readonly chance: number;
  /** What a kept coordinate is multiplied with. */
  readonly scale: number;
  readonly #heap: Heap;
  readonly #state: Block<Int32Array>;

  constructor(heap: Heap, chance: number) {
    this.#heap = heap;
    this.chance = chance;
    this.scale = 1 / (1 - chance);
    this.#state = ints(heap, 4);
  }

  /** Drops of `n` floats at an address. */
  run(at: number, n: number, rng: Rng): void {
    if (this.chance === 0) return;
    for (let lane = 0; lane < 4; lane++) this.#state.view[lane] = rng.uint32() | 1;
    const limit = Math.round(this.chance * 2 ** 24);
    this.#heap.kernels.dropout(at, n, this.#state.at, limit, this.scale);
  }
}
