/**
 * The inverted-file index: labels in lists by norm and direction; a point looks only into the lists whose mean vectors score highest.
 * Works list by list for many points at once, so that the scan kernel sees dense tiles.
 */
import { type Block, floats, type Heap, ints, shorts } from "../kernels/heap.ts";
import type { LabelMatrix } from "../kernels/label-matrix.ts";
import { bandsByNorm, leastBand } from "./bands.ts";
import { clusterByDirection } from "./clusters.ts";
import { PackedVectors, toFixed } from "./fixed-point.ts";
import {
  type BuildOptions,
  type Effort,
  type Found,
  type LabelIndex,
  noLabels,
  type SearchOptions,
} from "./label-index.ts";
import { Pickers, pickerBlock } from "./pickers.ts";
import { LabelMarks, Rescorer } from "./rescorer.ts";

export interface IvfOptions {
  readonly lists: number;
  /** Lists that a point looks into. */
  readonly probes: number;
  /** See bandsByNorm; for tests of small sizes. */
  readonly leastBand?: number;
}

/**
 * About 5.5 √labels lists, of which a sixteenth is looked into, 128 at most: so it keeps 0.8 of the best 32 on trained vectors of
 * 35,048 labels, and the cost of a search grows with the root of the labels beyond.
 */
export function ivfOptionsFor(labels: number): IvfOptions {
  const lists = Math.max(8, Math.min(Math.ceil(labels / 16), Math.round(5.5 * Math.sqrt(labels))));
  return { lists, probes: Math.max(4, Math.min(128, Math.ceil(lists / 16))) };
}

/**
 * A list is ranked by its mean's score and a share of what the best of its labels would have above it, were they spread evenly
 * around. Half found most on trained vectors (35,048 labels: the best 64 from 128 of 1,030 lists, recall 0.90 for 0.87).
 */
const reachShare = 0.5;

/** Points searched together; bounds the memory of their candidates. */
const chunkPoints = 2048;
const tilePoints = 64;

export class IvfIndex implements LabelIndex {
  readonly kind = "ivf";
  readonly labels: number;
  readonly dim: number;
  readonly lists: number;
  /** Lists that a point looks into. */
  readonly effort: Effort;
  readonly #heap: Heap;
  readonly #marks: LabelMarks;
  readonly #leastBand: number;
  /** All labels, list by list, each list padded to whole blocks of 8. */
  readonly #vectors: PackedVectors;
  readonly #means: PackedVectors;
  /** What a list's best label may score above its mean, per unit of the norm of z. */
  readonly #reach: Block<Float32Array>;
  /** The label at each place; -1 is padding. */
  readonly #labelAt: Int32Array;
  /** Place where each list starts, and (lists + 1) the end; #ends: after its last label. */
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;

  /** Takes heap memory of 2 bytes per weight and up to 7 labels of padding a list. */
  constructor(heap: Heap, labels: number, dim: number, options = ivfOptionsFor(labels)) {
    const lists = Math.min(options.lists, labels);
    this.lists = lists;
    this.effort = { what: "lists", value: Math.min(options.probes, lists), most: lists };
    this.#heap = heap;
    // Every band has a list at least.
    this.#leastBand = Math.max(
      options.leastBand ?? leastBand,
      Math.ceil(labels / 2 ** (lists - 1)),
    );
    this.labels = labels;
    this.#marks = new LabelMarks(labels);
    this.dim = dim;
    this.#vectors = new PackedVectors(heap, labels + lists * 7, dim);
    this.#means = new PackedVectors(heap, lists, dim);
    this.#reach = floats(heap, this.#means.places);
    this.#labelAt = new Int32Array(this.#vectors.places);
    this.#starts = new Int32Array(lists + 1);
    this.#ends = new Int32Array(lists);
  }

  build(classifier: LabelMatrix, { removed, variant = 0 }: BuildOptions = {}): void {
    const { dim, labels, lists } = this;
    const of = this.#assign(classifier, removed, variant);
    const sizes = new Int32Array(lists);
    const squares = new Float64Array(lists);
    const means = new Float32Array(lists * dim);
    for (let label = 0; label < labels; label++) {
      const list = of[label] as number;
      if (list < 0) continue;
      sizes[list] = (sizes[list] as number) + 1;
      const to = list * dim;
      const row = classifier.row(label);
      let square = 0;
      for (let j = 0; j < dim; j++) {
        const w = row[j] as number;
        means[to + j] = (means[to + j] as number) + w;
        square += w * w;
      }
      squares[list] = (squares[list] as number) + square;
    }
    for (let list = 0; list < lists; list++) {
      const size = sizes[list] as number;
      const start = this.#starts[list] as number;
      this.#ends[list] = start;
      this.#starts[list + 1] = start + Math.ceil(size / 8) * 8;
      let square = 0;
      for (let j = list * dim; j < (list + 1) * dim; j++) {
        means[j] = (means[j] as number) / Math.max(size, 1);
        square += (means[j] as number) ** 2;
      }
      this.#means.set(list, means, list * dim);
      const spread = Math.sqrt(Math.max((squares[list] as number) / Math.max(size, 1) - square, 0));
      this.#reach.view[list] = reachShare * spread * Math.sqrt((2 * Math.log(size + 1)) / dim);
    }
    this.#labelAt.fill(-1);
    for (let label = 0; label < labels; label++) {
      const list = of[label] as number;
      if (list < 0) continue;
      const place = this.#ends[list] as number;
      this.#ends[list] = place + 1;
      this.#labelAt[place] = label;
      this.#vectors.set(place, classifier.row(label), 0);
    }
    for (let list = 0; list < lists; list++)
      for (let p = this.#ends[list] as number; p < (this.#starts[list + 1] as number); p++)
        this.#vectors.clear(p);
  }

  /** The list of each label; -1 where it was removed. Bands share the lists by their sizes, and each is clustered by itself. */
  #assign(
    classifier: LabelMatrix,
    removed: ReadonlySet<number> | undefined,
    variant: number,
  ): Int32Array {
    const of = new Int32Array(this.labels).fill(-1);
    const bands = bandsByNorm(classifier, removed, this.#leastBand);
    let left = bands.reduce((sum, band) => sum + band.length, 0);
    let used = 0;
    bands.forEach((members, b) => {
      const free = this.lists - used - (bands.length - 1 - b);
      const share = Math.round(((this.lists - used) * members.length) / left);
      const count = Math.max(1, Math.min(free, share, members.length));
      const nearest = clusterByDirection(this.#heap, classifier, members, count, variant);
      members.forEach((label, i) => {
        of[label] = used + (nearest[i] as number);
      });
      used += count;
      left -= members.length;
    });
    return of;
  }

  search(
    z: Block<Float32Array>,
    points: number,
    classifier: LabelMatrix,
    k: number,
    { excluded = noLabels, carried = noLabels, spare = 8 }: SearchOptions = {},
  ): Found {
    const { dim } = this;
    const search = { marks: this.#marks, points, classifier, k, excluded, carried };
    const rescorer = new Rescorer(this.#heap, search);
    const heap = this.#heap;
    const mark = heap.used;
    let most = 0;
    for (let i = 0; i < points; i++) most = Math.max(most, excluded(i)?.length ?? 0);
    const size = Math.min(chunkPoints, points);
    const pickers = new Pickers(heap, size, k + spare + most);
    const fixed = shorts(heap, Math.ceil(size / 4) * 4 * this.dim);
    let scanned = 0;
    for (let first = 0; first < points; first += chunkPoints) {
      const count = Math.min(chunkPoints, points - first);
      toFixed(z.view, first * this.dim, count, this.dim, fixed.view);
      const inner = heap.used;
      const probes = this.#probe(fixed, count);
      for (let i = 0; i < count; i++)
        pickers.reset(i, k + spare + (excluded(first + i)?.length ?? 0));
      scanned += this.#scanLists(fixed, probes, pickers);
      heap.release(inner);
      for (let i = 0; i < count; i++) {
        const best = pickers.best(i);
        for (let j = 0; j < best.length; j++) best[j] = this.#labelAt[best[j] as number] as number;
        rescorer.run(pickers, i, best, z.at + (first + i) * dim * 4, first + i);
      }
    }
    heap.release(mark);
    return rescorer.found(this.lists + scanned / Math.max(points, 1));
  }

  /** Points of each list, as lists of their numbers; the heap memory of the result is the caller's to release. */
  #probe(fixed: Block<Int16Array>, count: number): Probes {
    const heap = this.#heap;
    const { lists } = this;
    const probes = this.effort.value;
    const mark = heap.used;
    const width = this.#means.places;
    const out = floats(heap, tilePoints * width);
    const pickers = new Pickers(heap, Math.min(tilePoints, count), probes);
    const chosen = new Int32Array(count * probes);
    const starts = new Int32Array(lists + 1);
    for (let first = 0; first < count; first += tilePoints) {
      const here = Math.min(tilePoints, count - first);
      this.#means.scan(heap, fixed.at + first * this.dim * 2, here, 0, width / 8, out.at, width);
      for (let i = 0; i < here; i++) {
        pickers.reset(i, probes);
        const norm = normOf(fixed.view, (first + i) * this.dim, this.dim);
        heap.kernels.axpy(out.at + i * width * 4, this.#reach.at, width, norm);
      }
      for (let at = 0; at < width; at += pickerBlock)
        pickers.offer(out.at + at * 4, width, here, Math.min(pickerBlock, width - at), at, lists);
      for (let i = 0; i < here; i++) {
        const best = pickers.best(i);
        chosen.set(best, (first + i) * probes);
        for (const list of best) starts[list + 1] = (starts[list + 1] as number) + 1;
      }
    }
    for (let list = 0; list < lists; list++)
      starts[list + 1] = (starts[list + 1] as number) + (starts[list] as number);
    const next = starts.slice();
    heap.release(mark);
    const points = ints(heap, chosen.length);
    for (let at = 0; at < chosen.length; at++) {
      const list = chosen[at] as number;
      const to = next[list] as number;
      next[list] = to + 1;
      points.view[to] = Math.floor(at / probes);
    }
    return { starts, points };
  }

  /** Scans every list for its points; the pairs scored. */
  #scanLists(fixed: Block<Int16Array>, probes: Probes, pickers: Pickers): number {
    const heap = this.#heap;
    const { dim } = this;
    const mark = heap.used;
    const tile = shorts(heap, tilePoints * dim);
    const out = floats(heap, tilePoints * pickerBlock);
    let pairs = 0;
    for (let list = 0; list < this.lists; list++) {
      const start = this.#starts[list] as number;
      const end = this.#ends[list] as number;
      const to = probes.starts[list + 1] as number;
      if (end === start) continue;
      for (let first = probes.starts[list] as number; first < to; first += tilePoints) {
        const here = Math.min(tilePoints, to - first);
        heap.kernels.gather(fixed.at, dim * 2, probes.points.at + first * 4, here, tile.at);
        for (let place = start; place < end; place += pickerBlock) {
          const n = Math.min(pickerBlock, Math.ceil((end - place) / 8) * 8);
          this.#vectors.scan(heap, tile.at, here, place / 8, n / 8, out.at, pickerBlock);
          const list = probes.points.at + first * 4;
          pickers.offer(out.at, pickerBlock, here, n, place, end, list);
          pairs += n * here;
        }
      }
    }
    heap.release(mark);
    return pairs;
  }
}

function normOf(row: Int16Array, from: number, dim: number): number {
  let square = 0;
  for (let j = from; j < from + dim; j++) square += (row[j] as number) ** 2;
  return Math.sqrt(square);
}

/** Points by list: numbers `points[starts[list] … starts[list + 1]]`. */
interface Probes {
  readonly starts: Int32Array;
  readonly points: Block<Int32Array>;
}
