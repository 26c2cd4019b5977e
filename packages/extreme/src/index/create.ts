/** Chooses an index by name or by size. */
import type { Heap } from "../kernels/heap.ts";
import { CodedIndex } from "./coded.ts";
import { ExactIndex } from "./exact.ts";
import { HnswIndex } from "./hnsw.ts";
import { IvfIndex } from "./ivf.ts";
import type { LabelIndex } from "./label-index.ts";

export const indexKinds = ["auto", "exact", "ivf", "codes", "hnsw"] as const;
export type IndexKind = (typeof indexKinds)[number];

/** Up to here a scan of all labels costs no more than making lists. */
export const exactLabels = 4096;

export function createIndex(heap: Heap, labels: number, dim: number, kind: IndexKind): LabelIndex {
  if (kind === "hnsw") return new HnswIndex(heap, labels, dim);
  if (kind === "codes") return new CodedIndex(heap, labels, dim);
  const exact = kind === "exact" || (kind === "auto" && labels <= exactLabels);
  return exact ? new ExactIndex(heap, labels, dim) : new IvfIndex(heap, labels, dim);
}
