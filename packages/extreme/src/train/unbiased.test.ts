import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { CsrBuilder } from "../data/csr.ts";
import type { Split } from "../data/dataset.ts";
import { defaultTrainOptions, type TrainOptions } from "./options.ts";
import { Trainer } from "./trainer.ts";

const [points, labels, draws] = [8, 203, 10_000];

function split(): Split {
  const rng = new Rng("unbiased");
  const x = new CsrBuilder(true);
  const y = new CsrBuilder(false);
  const filter = new CsrBuilder(false);
  for (let i = 0; i < points; i++) {
    for (let j = 0; j < 5; j++) x.add(j * 10 + rng.int(0, 9), 1);
    x.endRow();
    y.add(rng.int(0, 99));
    y.add(rng.int(100, 199));
    y.endRow();
    filter.add(200 + (i % 3));
    filter.endRow();
  }
  return { features: x.build(50), labels: y.build(labels), filter: filter.build(labels) };
}

/** A trainer whose label vectors have moved far from where its shortlists were made. */
function stale(options: Partial<TrainOptions>): Trainer {
  const trainer = new Trainer(split(), {
    ...defaultTrainOptions,
    dim: 16,
    batch: points,
    group: 8,
    uniform: 24,
    shortlist: 12,
    hardDraws: 6,
    hardWeight: 1,
    dropout: 0,
    epochs: 2,
    ...options,
  });
  const rng = new Rng("vectors");
  const w = trainer.model.classifier.view;
  for (let i = 0; i < w.length; i++) w[i] = rng.normal(0, 3);
  const { k } = { k: 12 };
  const lists = new Int32Array(points * k);
  const scores = new Float32Array(points * k);
  for (let i = 0; i < points; i++) {
    const own = new Set(split().labels.indices.subarray(i * 2, i * 2 + 2));
    let n = 0;
    // Made for quite other vectors: labels and scores have nothing to do with the present ones.
    for (let label = (i * 37) % 150; n < k; label++)
      if (!own.has(label)) {
        lists[i * k + n] = label;
        scores[i * k + n++] = rng.normal(-2, 2);
      }
  }
  trainer.shortlists = { k, labels: lists, scores, scanned: 0, recall: null };
  // The first epoch takes no hard labels.
  trainer.epoch = 1;
  return trainer;
}

const ids = Int32Array.from({ length: points }, (_, i) => i);

/** z-scores of the mean of sampled gradients against the exact one, per coordinate. */
async function zScores(options: Partial<TrainOptions>): Promise<number[]> {
  const exact = await stale({ sampler: "full" }).gradientOf(ids, new Rng("exact"));
  const trainer = stale(options);
  const sum = new Float64Array(exact.length);
  const square = new Float64Array(exact.length);
  const rng = new Rng(`draws ${JSON.stringify(options)}`);
  for (let d = 0; d < draws; d++) {
    const g = await trainer.gradientOf(ids, rng);
    for (let j = 0; j < g.length; j++) {
      const off = g[j]! - exact[j]!;
      sum[j]! += off;
      square[j]! += off * off;
    }
  }
  return [...sum]
    .map((s, j) => {
      const mean = s / draws;
      const error = Math.sqrt(Math.max(square[j]! / draws - mean * mean, 0) / draws);
      return error === 0 ? 0 : mean / error;
    })
    .filter((z) => z !== 0);
}

const rms = (zs: readonly number[]): number =>
  Math.sqrt(zs.reduce((s, z) => s + z * z, 0) / zs.length);

test.each(["stratified", "importance", "uniform"] as const)(
  "with exponent 1 the mean of 10,000 %s gradients is the exact one, however stale the shortlists",
  async (sampler) => {
    const zs = await zScores({ sampler, alpha: 1 });
    expect(zs.length).toBeGreaterThan(40);
    // Per coordinate three standard errors, which one of 370 passes by chance; together their root mean square is near 1.
    expect(zs.filter((z) => Math.abs(z) > 3).length).toBeLessThanOrEqual(2);
    expect(Math.max(...zs.map(Math.abs))).toBeLessThan(4.5);
    expect(rms(zs)).toBeLessThan(1.6);
  },
);

test.each(["stratified", "importance"] as const)(
  "with exponent 0 the bias of %s is seen by the same test",
  async (sampler) => {
    expect(rms(await zScores({ sampler, alpha: 0 }))).toBeGreaterThan(10);
  },
);
