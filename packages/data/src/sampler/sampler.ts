/**
 * The order of an epoch: one true global permutation from (seed, epoch), the same in every process, and which part of
 * it a rank gets. Nothing is remembered between epochs, so that resuming is exact and takes constant time.
 */
import { InvariantError, Rng } from "@millrace/core";

/** Which samples, in which order. */
export interface SamplerOptions {
  readonly length: number;
  /** False: file order in every epoch (evaluation). */
  readonly shuffle: boolean;
  /** This consumer among `world` of them; each gets every world-th sample of the order. */
  readonly rank: number;
  readonly world: number;
}

/** Orders by epoch; keeps the last two, since look-ahead crosses the border of an epoch. */
export class Sampler {
  /** Samples of an epoch for this rank; ranks differ by at most one. */
  readonly length: number;
  private readonly options: SamplerOptions;
  private readonly kept = new Map<string, Uint32Array>();

  constructor(options: SamplerOptions) {
    const { length, rank, world } = options;
    if (!Number.isInteger(rank) || !Number.isInteger(world) || rank < 0 || rank >= world)
      throw new InvariantError(`rank ${rank} of ${world}`);
    this.options = options;
    this.length = Math.max(0, Math.ceil((length - rank) / world));
  }

  /** Items in the order of that epoch; shared, not to be written. O(n) on the first call for an epoch. */
  order(seed: number, epoch: number): Uint32Array {
    const key = this.options.shuffle ? `${seed}/${epoch}` : "";
    const known = this.kept.get(key);
    if (known !== undefined) return known;
    const made = this.make(`order/${key}`);
    if (this.kept.size >= 2) this.kept.delete(this.kept.keys().next().value as string);
    this.kept.set(key, made);
    return made;
  }

  private make(path: string): Uint32Array {
    const { length, shuffle, rank, world } = this.options;
    const all = Uint32Array.from({ length }, (_, i) => i);
    if (shuffle) new Rng(path).shuffle(all);
    if (world === 1) return all;
    return Uint32Array.from({ length: this.length }, (_, i) => all[rank + i * world] as number);
  }
}
