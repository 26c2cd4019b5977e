/**
 * What label vectors meet of one batch: each point its own labels and hard negatives, each group of points its uniform draws (or
 * all labels). Gradients of z are added up; label vectors change at once: group by group on one thread, in two phases on
 * several (all points of the batch, then the stripes of all groups side by side).
 */
import { MillraceError, type Rng } from "@millrace/core";
import { type Block, floats, type Heap } from "../kernels/heap.ts";
import type { Model } from "../model/model.ts";
import type { HardLabels } from "../negatives/hard-labels.ts";
import { type Fix, fixer } from "./fixes.ts";
import { blockLabels, GroupStep } from "./group-step.ts";
import { createLabelUpdate, type LabelUpdate } from "./label-update.ts";
import type { TrainOptions } from "./options.ts";
import { drawUniform, fullFixes, type Met, uniformFixes, uniformLabelsOf } from "./passes.ts";
import { PointStep } from "./point-step.ts";
import type { TrainingPoints } from "./points.ts";
import { type GroupWork, Stripes } from "./stripes/stripes.ts";

export class BatchPass implements AsyncDisposable {
  /** Vectors of the batch and their gradients: rows of dim floats, whole groups. */
  readonly z: Block<Float32Array>;
  readonly dz: Block<Float32Array>;
  readonly update: LabelUpdate;
  readonly #model: Model;
  readonly #points: TrainingPoints;
  readonly #options: TrainOptions;
  readonly #pointStep: PointStep;
  readonly #step: GroupStep;
  readonly #stripes: Stripes | null;

  /** Throws USAGE for several threads with an optimizer that cannot be striped. */
  constructor(
    heap: Heap,
    model: Model,
    points: TrainingPoints,
    hard: HardLabels,
    options: TrainOptions,
  ) {
    this.#model = model;
    this.#points = points;
    this.#options = options;
    const { group, threads, labelOptimizer } = options;
    const { dim, labels } = model;
    const groups = Math.ceil(options.batch / group);
    this.z = floats(heap, groups * group * dim);
    this.dz = floats(heap, groups * group * dim);
    const longest = points.mostOwn + options.shortlist;
    this.update = createLabelUpdate(heap, model, labelOptimizer, blockLabels, longest);
    this.#pointStep = new PointStep(heap, model, points, hard, this.update);
    const drawn = uniformLabelsOf(options, labels);
    this.#step = new GroupStep(heap, model, group, drawn);
    if (threads > 1 && labelOptimizer !== "sgd")
      throw new MillraceError("USAGE", `${labelOptimizer} runs on one thread, not on ${threads}`, {
        hint: "stripes of labels are trained by SGD",
      });
    // A label may be in two draws of a group.
    const fixes = groups * group * (longest + points.mostFiltered) * 2;
    const shape = { labels, dim, group, groups, drawn, fixes, stripes: threads };
    this.#stripes =
      threads > 1 ? new Stripes(heap, model, shape, this.#step, this.update, this.z) : null;
  }

  /** Adds gradients of the batch in `z` to `dz` and trains label vectors at the rate `lr`; the pairs scored. `first`: the epoch without hard negatives. */
  run(ids: Int32Array, lr: number, rng: Rng, first: boolean): number {
    const { group, sampler } = this.#options;
    const uniform = sampler !== "full" && (sampler !== "hard" || first);
    let pairs = 0;
    const work: GroupWork[] = [];
    for (let at = 0; at < ids.length; at += group) {
      const some = ids.subarray(at, at + group);
      const own = sampler === "full" ? null : this.#own(some, at, lr, rng);
      pairs += own?.pairs ?? 0;
      if (own !== null && !uniform) continue;
      const { drawn, fixes } = own === null ? this.#all(some) : this.#draw(some, own.met, rng);
      pairs += (own === null ? this.#model.labels : drawn.length) * some.length;
      if (this.#stripes === null) this.#one(some.length, at, fixes, lr);
      else work.push({ drawn: drawn.slice(), fixes });
    }
    if (work.length > 0)
      this.#stripes?.run(work, ids.length, sampler === "full", this.#weight, lr, this.dz, rng);
    return pairs;
  }

  /** Of a uniform draw; of all labels it is 1. */
  get #weight(): number {
    const { sampler, alpha } = this.#options;
    return sampler === "full" ? 1 : (this.#model.labels / this.#step.drawn.view.length) ** alpha;
  }

  #own(
    ids: Int32Array,
    first: number,
    lr: number,
    rng: Rng,
  ): { readonly met: readonly Met[]; readonly pairs: number } {
    const at = first * this.#model.dim * 4;
    return this.#pointStep.run(ids, this.z.at + at, this.dz.at + at, lr, rng);
  }

  #draw(ids: Int32Array, met: readonly Met[], rng: Rng): { drawn: Int32Array; fixes: Fix[] } {
    const drawn = this.#step.drawn.view;
    drawUniform(drawn, this.#model.labels, rng);
    return { drawn, fixes: uniformFixes(this.#points, ids, met, drawn, this.#options.group) };
  }

  #all(ids: Int32Array): { drawn: Int32Array; fixes: Fix[] } {
    return { drawn: none, fixes: fullFixes(this.#points, ids, this.#options.group) };
  }

  #one(count: number, first: number, fixes: Fix[], lr: number): void {
    const { dim, labels } = this.#model;
    const { group, sampler } = this.#options;
    const all = sampler === "full";
    const at = first * dim * 4;
    const n = all ? labels : this.#step.drawn.view.length;
    this.#step.load(this.z, first * dim, count);
    this.#step.run(
      this.z.at + at,
      this.dz.at + at,
      0,
      n,
      all,
      this.#weight,
      lr,
      fixer(fixes, group),
      this.update,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stripes?.[Symbol.asyncDispose]();
  }
}

const none = new Int32Array(0);
