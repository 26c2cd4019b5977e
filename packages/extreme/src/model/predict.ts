/** Top labels of many points against a model. */
import type { Csr } from "../data/csr.ts";
import { ExactIndex } from "../index/exact.ts";
import { floats } from "../kernels/heap.ts";
import type { Ranking } from "../metrics/ranking.ts";
import { consecutive, encodeRows, loadRows, type Model } from "./model.ts";

const chunk = 1024;

/** The `k` best labels of each row of `features`, exactly; pairs of `filter` and removed labels are left out. Scores are z·w + b, before the sigmoid. */
export function predict(
  model: Model,
  features: Csr,
  k: number,
  filter: Csr | null = null,
  removed?: ReadonlySet<number>,
): Ranking {
  const { heap, dim } = model;
  const mark = heap.used;
  const rows = loadRows(heap, features);
  const index = new ExactIndex(heap, model.labels, dim);
  index.build(model.classifier, { removed });
  const z = floats(heap, chunk * dim);
  const labels = new Int32Array(rows.rows * k);
  const scores = new Float32Array(rows.rows * k);
  for (let first = 0; first < rows.rows; first += chunk) {
    const count = Math.min(chunk, rows.rows - first);
    encodeRows(model, rows, consecutive(first, count), z);
    const found = index.search(z, count, model.classifier, k, {
      excluded: (i) =>
        filter?.indices.subarray(filter.indptr[first + i], filter.indptr[first + i + 1]),
    });
    labels.set(found.labels, first * k);
    for (let i = 0; i < count * k; i++)
      scores[first * k + i] = (found.scores[i] as number) + model.bias;
  }
  heap.release(mark);
  return { points: rows.rows, k, labels, scores };
}
