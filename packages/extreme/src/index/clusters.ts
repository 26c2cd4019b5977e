/**
 * Clusters of label vectors by direction (spherical k-means on an evenly spaced sample). By direction, because the norms of
 * trained vectors spread by a factor of four and more, and plain k-means then makes one heap of all short ones.
 */
import { floats, type Heap, shorts } from "../kernels/heap.ts";
import type { LabelMatrix } from "../kernels/label-matrix.ts";
import { PackedVectors, toFixed } from "./fixed-point.ts";

const tile = 64;

/**
 * Makes `count` clusters of the vectors `members`; the cluster of each. `sample` bounds the vectors that each of `rounds` looks at.
 * Another `variant` starts from other vectors.
 */
export function clusterByDirection(
  heap: Heap,
  vectors: LabelMatrix,
  members: Int32Array,
  count: number,
  variant = 0,
  rounds = 4,
  sample = count * 32,
): Int32Array {
  const { dim } = vectors;
  const n = members.length;
  const mark = heap.used;
  const centroids = floats(heap, count * dim);
  const packed = new PackedVectors(heap, count, dim);
  const fixed = shorts(heap, tile * dim);
  const scores = floats(heap, tile * packed.places);
  // Steps of the golden section are far from each other, however many there are.
  const shift = (0.5 + variant * 0.618) % 1;
  const spread = (of: number, i: number): number =>
    members[Math.floor(((i + shift) * n) / of)] as number;
  for (let c = 0; c < count; c++) {
    centroids.view.set(vectors.row(spread(count, c)), c * dim);
  }
  const gathered = new Float32Array(tile * dim);
  /** The nearest centroid of each listed vector. */
  const assign = (ids: (i: number) => number, length: number, to: Int32Array): void => {
    for (let c = 0; c < count; c++) {
      normalize(centroids.view, c * dim, dim);
      packed.set(c, centroids.view, c * dim);
    }
    for (let first = 0; first < length; first += tile) {
      const here = Math.min(tile, length - first);
      for (let i = 0; i < here; i++) gathered.set(vectors.row(ids(first + i)), i * dim);
      toFixed(gathered, 0, here, dim, fixed.view);
      packed.scan(heap, fixed.at, here, 0, packed.places / 8, scores.at, packed.places);
      for (let i = 0; i < here; i++)
        to[first + i] = largestOf(scores.view, i * packed.places, count);
    }
  };
  const looked = Math.min(n, sample);
  const sampled = (i: number): number => spread(looked, i);
  const nearest = new Int32Array(looked);
  const sizes = new Int32Array(count);
  for (let round = 0; round < rounds; round++) {
    assign(sampled, looked, nearest);
    centroids.view.fill(0);
    sizes.fill(0);
    for (let i = 0; i < looked; i++) {
      const c = nearest[i] as number;
      sizes[c] = (sizes[c] as number) + 1;
      addDirection(centroids.view, c * dim, vectors.row(sampled(i)), dim);
    }
    // An empty cluster starts again from a vector of the largest one's kind: any sampled vector, taken in turn.
    for (let c = 0; c < count; c++)
      if (sizes[c] === 0) {
        centroids.view.set(vectors.row(spread(count, (c * 7 + round) % count)), c * dim);
      }
  }
  const of = new Int32Array(n);
  assign((i) => members[i] as number, n, of);
  heap.release(mark);
  return of;
}

function normalize(rows: Float32Array, from: number, dim: number): void {
  let square = 0;
  for (let j = from; j < from + dim; j++) square += (rows[j] as number) ** 2;
  if (square === 0) return;
  const scale = 1 / Math.sqrt(square);
  for (let j = from; j < from + dim; j++) rows[j] = (rows[j] as number) * scale;
}

function addDirection(to: Float32Array, at: number, row: Float32Array, dim: number): void {
  let square = 0;
  for (let j = 0; j < dim; j++) square += (row[j] as number) ** 2;
  const scale = square === 0 ? 0 : 1 / Math.sqrt(square);
  for (let j = 0; j < dim; j++) to[at + j] = (to[at + j] as number) + (row[j] as number) * scale;
}

function largestOf(values: Float32Array, from: number, n: number): number {
  let best = 0;
  let most = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < n; j++) {
    const v = values[from + j] as number;
    if (v > most) {
      most = v;
      best = j;
    }
  }
  return best;
}
