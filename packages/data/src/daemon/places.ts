/** Places of jobs (epoch, position in samples) and numbers of batches in the endless sequence of a seed. */
import { MillraceError } from "@millrace/core";
import type { BatchId } from "./coordinator.ts";
import type { Place } from "./protocol.ts";

export class Places {
  readonly batchSize: number;
  /** Samples of an epoch. */
  readonly length: number;
  readonly batchesPerEpoch: number;

  /** Throws MillraceError CONFIG_INVALID when an epoch of so many samples has no batch. */
  constructor(samples: number, batchSize: number, dropLast: boolean) {
    this.batchSize = batchSize;
    this.length = dropLast ? Math.floor(samples / batchSize) * batchSize : samples;
    this.batchesPerEpoch = Math.ceil(this.length / batchSize);
    if (this.batchesPerEpoch === 0)
      throw new MillraceError("CONFIG_INVALID", `no batch of ${batchSize} in ${samples} samples`);
  }

  /** The batch that begins at the place. Throws Error when none does. */
  batchAt({ seed, epoch, position }: Place): BatchId {
    const { batchSize, batchesPerEpoch, length } = this;
    const end = position === length;
    if (
      ![seed, epoch, position].every((n) => Number.isSafeInteger(n) && n >= 0) ||
      position > length ||
      (!end && position % batchSize !== 0)
    )
      throw new Error(
        `epoch ${epoch}, position ${position} with seed ${seed} is no border of batches of ${batchSize}`,
      );
    return {
      seed,
      sequence: epoch * batchesPerEpoch + (end ? batchesPerEpoch : position / batchSize),
    };
  }

  placeOf({ sequence }: BatchId): { readonly epoch: number; readonly position: number } {
    const epoch = Math.floor(sequence / this.batchesPerEpoch);
    return { epoch, position: (sequence - epoch * this.batchesPerEpoch) * this.batchSize };
  }

  /** Samples that the batch at this position stands for. */
  planned(position: number): number {
    return Math.min(this.batchSize, this.length - position);
  }
}
