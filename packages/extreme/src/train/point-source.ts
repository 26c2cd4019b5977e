/** Batches of training points for a loop that takes them from outside: numbers of rows, in an order that the seed fixes. */
import { Rng } from "@millrace/core";
import type { BatchSource, Loan, SourceState, StallReport } from "@millrace/core/job";

/** Rows of the training split. */
export interface PointBatch {
  readonly ids: Int32Array;
}

/** All points are in memory: nothing is ever waited for. */
export class PointSource implements BatchSource<PointBatch> {
  readonly #points: number;
  readonly #batch: number;
  #place: SourceState;
  #order: { readonly key: string; readonly ids: Int32Array } | null = null;
  #batches = 0;
  #samples = 0;

  constructor(points: number, batch: number, seed: number) {
    this.#points = points;
    this.#batch = batch;
    this.#place = { seed, epoch: 0, position: 0 };
  }

  async next(signal?: AbortSignal): Promise<Loan<PointBatch> | null> {
    signal?.throwIfAborted();
    const { seed, epoch, position } = this.#place;
    if (position >= this.#points) {
      this.#place = { seed, epoch: epoch + 1, position: 0 };
      return null;
    }
    const to = Math.min(position + this.#batch, this.#points);
    const ids = this.#orderOf(seed, epoch).slice(position, to);
    this.#place = { seed, epoch, position: to };
    this.#batches++;
    this.#samples += ids.length;
    return { batch: { ids }, samples: ids.length, release: () => {} };
  }

  #orderOf(seed: number, epoch: number): Int32Array {
    const key = `${seed}/${epoch}`;
    if (this.#order?.key !== key) {
      const ids = Int32Array.from({ length: this.#points }, (_, i) => i);
      new Rng(`${key}/points`).shuffle(ids);
      this.#order = { key, ids };
    }
    return this.#order.ids;
  }

  state(): SourceState {
    return this.#place;
  }
  seek(state: SourceState): void {
    this.#place = state;
  }
  setCacheBytes(): void {}
  stalls(): StallReport {
    return {
      batches: this.#batches,
      samples: this.#samples,
      waitSeconds: 0,
      fetchSeconds: 0,
      prepSeconds: 0,
    };
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}
