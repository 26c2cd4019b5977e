/** A point against its own labels: true ones and hard negatives, each applied at once. */
import type { Rng } from "@millrace/core";
import { type Block, floats, type Heap, ints } from "../kernels/heap.ts";
import type { Model } from "../model/model.ts";
import type { HardLabels } from "../negatives/hard-labels.ts";
import type { LabelUpdate } from "./label-update.ts";
import type { Met } from "./passes.ts";
import type { TrainingPoints } from "./points.ts";

export class PointStep {
  readonly #points: TrainingPoints;
  readonly #hard: HardLabels;
  readonly #update: LabelUpdate;
  readonly #rowBytes: number;
  readonly #list: Block<Int32Array>;
  readonly #weights: Block<Float32Array>;

  constructor(
    heap: Heap,
    model: Model,
    points: TrainingPoints,
    hard: HardLabels,
    update: LabelUpdate,
  ) {
    this.#points = points;
    this.#hard = hard;
    this.#update = update;
    this.#rowBytes = model.dim * 4;
    const longest = points.mostOwn + hard.labels.length;
    this.#list = ints(heap, longest);
    this.#weights = floats(heap, longest);
  }

  /** Trains the points whose vectors start at `z`; what uniform draws must know of each, and the pairs scored. */
  run(
    ids: Int32Array,
    z: number,
    dz: number,
    lr: number,
    rng: Rng,
  ): { readonly met: readonly Met[]; readonly pairs: number } {
    const met: Met[] = [];
    let pairs = 0;
    for (let i = 0; i < ids.length; i++) {
      const at = i * this.#rowBytes;
      pairs += this.#one(ids[i] as number, z + at, dz + at, lr, rng, met);
    }
    return { met, pairs };
  }

  #one(id: number, z: number, dz: number, lr: number, rng: Rng, met: Met[]): number {
    const own = this.#points.own(id);
    const { n: chosen, scored } = this.#hard.pick(id, z, rng);
    const list = this.#list.view;
    const weights = this.#weights.view;
    list.set(own);
    weights.fill(1, 0, own.length);
    list.set(this.#hard.labels.subarray(0, chosen), own.length);
    weights.set(this.#hard.weights.subarray(0, chosen), own.length);
    const n = own.length + chosen;
    this.#update.point(z, dz, this.#list, this.#weights, n, own.length, lr);
    const { importance } = this.#hard;
    met.push(
      importance === null
        ? { none: list.slice(0, n), listed: null, factors: null }
        : {
            none: own,
            listed: importance.listed.slice(0, importance.size),
            factors: importance.factors.slice(0, importance.size),
          },
    );
    return n + scored;
  }
}
