import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { batchSourceConformance, trainableConformance } from "@millrace/core/job/conformance";
import { afterAll, expect, test } from "vitest";
import { CsrBuilder } from "../data/csr.ts";
import type { Dataset } from "../data/dataset.ts";
import { predict } from "../model/predict.ts";
import { defaultTrainOptions } from "./options.ts";
import { PointSource } from "./point-source.ts";
import { ExtremeTrainable } from "./trainable.ts";

const folder = mkdtempSync(join(tmpdir(), "extreme-trainable-"));
afterAll(() => rmSync(folder, { recursive: true }));

const points = 96;
function dataset(): Dataset {
  const rng = new Rng("trainable");
  const x = new CsrBuilder(true);
  const y = new CsrBuilder(false);
  for (let i = 0; i < points; i++) {
    const label = rng.int(0, 29);
    x.add(label);
    x.add(30 + rng.int(0, 5));
    x.endRow();
    y.add(label);
    y.endRow();
  }
  return {
    train: { features: x.build(36), labels: y.build(30), filter: null },
    test: null,
    labelTexts: null,
    vectorizer: null,
  };
}
const options = {
  ...defaultTrainOptions,
  dim: 16,
  batch: 32,
  group: 8,
  uniform: 8,
  shortlist: 4,
  epochs: 12,
  refreshEvery: 1,
  lrClassifier: 0.3,
};
const make = (): ExtremeTrainable => new ExtremeTrainable(dataset(), options);

batchSourceConformance("PointSource", {
  make: (seed) => new PointSource(50, 8, seed),
  length: 50,
  print: ({ ids }) => ids.join(),
  items: ({ ids }) => [...ids],
});

trainableConformance("ExtremeTrainable", {
  make,
  batch: async (i) => {
    const source = new PointSource(points, 32, i);
    return (await source.next())!.batch;
  },
  dir: (name) => join(folder, name),
});

test("fed from a source it learns, and its refreshes come at the starts of epochs", async () => {
  await using model = make();
  await using source = new PointSource(points, options.batch, 3);
  const losses: number[] = [];
  for (let ends = 0; ends < options.epochs; ) {
    const loan = await source.next();
    if (loan === null) {
      ends++;
      continue;
    }
    losses.push((await model.step(loan.batch)).loss);
    loan.release();
  }
  expect(losses.length).toBe(36);
  expect(losses.at(-1)!).toBeLessThan(losses[0]! / 2);
  expect(model.trainer.epoch).toBe(options.epochs);
  const { train } = dataset();
  const best = predict(model.stored.model, train.features, 1).labels;
  const right = train.labels.indices.filter((label, i) => label === best[i]).length;
  expect(right / points).toBeGreaterThan(0.9);
});
