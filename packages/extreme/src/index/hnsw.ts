/** The graph index of usearch (optional package): inner products over bf16 vectors, re-scored exactly in f32. */
import { createRequire } from "node:module";
import { MillraceError } from "@millrace/core";
import type { Block, Heap } from "../kernels/heap.ts";
import type { LabelMatrix } from "../kernels/label-matrix.ts";
import {
  type BuildOptions,
  type Found,
  type LabelIndex,
  noLabels,
  type SearchOptions,
} from "./label-index.ts";
import { Pickers } from "./pickers.ts";
import { LabelMarks, Rescorer } from "./rescorer.ts";

export interface HnswOptions {
  /** Neighbours of a label in the graph. */
  readonly connectivity: number;
  /** Candidates looked at while building and while searching. */
  readonly expansionAdd: number;
  readonly expansionSearch: number;
  /** Threads of a build or a search; 0 takes all. */
  readonly threads: number;
}

export const defaultHnsw: HnswOptions = {
  connectivity: 16,
  expansionAdd: 64,
  expansionSearch: 128,
  threads: 1,
};

/** What of usearch is used. */
interface Graph {
  add(keys: BigUint64Array, vectors: Float32Array, threads: number): void;
  search(vectors: Float32Array, k: number, threads: number): { readonly keys: BigUint64Array };
}
interface Usearch {
  readonly Index: new (config: Readonly<Record<string, unknown>>) => Graph;
}

function load(): Usearch {
  try {
    return createRequire(import.meta.url)("usearch") as Usearch;
  } catch (cause) {
    throw new MillraceError("ENVIRONMENT_MISSING", "the package usearch is not installed", {
      hint: "npm install usearch@2.21.4, or take --index ivf",
      cause,
    });
  }
}

/** Vectors handed over at a time: they are copied out of shared memory. */
const chunk = 8192;

export class HnswIndex implements LabelIndex {
  readonly kind = "hnsw";
  readonly effort = null;
  readonly labels: number;
  readonly dim: number;
  readonly options: HnswOptions;
  readonly #heap: Heap;
  readonly #marks: LabelMarks;
  readonly #library: Usearch;
  #graph: Graph | null = null;

  constructor(heap: Heap, labels: number, dim: number, options = defaultHnsw) {
    this.#heap = heap;
    this.labels = labels;
    this.#marks = new LabelMarks(labels);
    this.dim = dim;
    this.options = options;
    this.#library = load();
  }

  build(classifier: LabelMatrix, { removed }: BuildOptions = {}): void {
    const { dim, options } = this;
    this.#graph = new this.#library.Index({
      dimensions: dim,
      metric: "ip",
      quantization: "bf16",
      connectivity: options.connectivity,
      expansion_add: options.expansionAdd,
      expansion_search: options.expansionSearch,
    });
    for (let first = 0; first < this.labels; first += chunk) {
      const kept: number[] = [];
      for (let l = first; l < Math.min(first + chunk, this.labels); l++)
        if (removed?.has(l) !== true) kept.push(l);
      const vectors = new Float32Array(kept.length * dim);
      kept.forEach((label, i) => {
        vectors.set(classifier.row(label), i * dim);
      });
      if (kept.length > 0)
        this.#graph.add(BigUint64Array.from(kept, BigInt), vectors, options.threads);
    }
  }

  search(
    z: Block<Float32Array>,
    points: number,
    classifier: LabelMatrix,
    k: number,
    { excluded = noLabels, carried = noLabels, spare = 8 }: SearchOptions = {},
  ): Found {
    const { dim } = this;
    const heap = this.#heap;
    let most = 0;
    for (let i = 0; i < points; i++) most = Math.max(most, excluded(i)?.length ?? 0);
    const want = Math.min(k + spare + most, this.labels);
    const mark = heap.used;
    const search = { marks: this.#marks, points, classifier, k, excluded, carried };
    const rescorer = new Rescorer(heap, search);
    const pickers = new Pickers(heap, 1, want + k);
    for (let i = 0; i < points && this.#graph !== null; i++) {
      const { keys } = this.#graph.search(
        z.view.slice(i * dim, (i + 1) * dim),
        want,
        this.options.threads,
      );
      const candidates = pickers.fill(0, keys.length);
      for (let j = 0; j < keys.length; j++) candidates[j] = Number(keys[j]);
      rescorer.run(pickers, 0, candidates, z.at + i * dim * 4, i);
    }
    heap.release(mark);
    return rescorer.found(this.options.expansionSearch);
  }
}
