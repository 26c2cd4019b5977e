/** Chooses an index by name or by size. */
import type { Heap } from "../kernels/heap.ts";
import { ExactIndex } from "./exact.ts";
import { IvfIndex } from "./ivf.ts";
import type { LabelIndex } from "./label-index.ts";

export const indexKinds = ["auto", "exact", "ivf"] as const;
export type IndexKind = (typeof indexKinds)[number];

/** Up to here a scan of all labels costs no more than making lists. */
const exactLabels = 4096;

export function createIndex(heap: Heap, labels: number, dim: number, kind: IndexKind): LabelIndex {
  const exact = kind === "exact" || (kind === "auto" && labels <= exactLabels);
  return exact ? new ExactIndex(heap, labels, dim) : new IvfIndex(heap, labels, dim);
}
