import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { afterAll, expect, test } from "vitest";
import { CsrBuilder } from "../data/csr.ts";
import type { Dataset } from "../data/dataset.ts";
import { addLabels } from "../model/edit-labels.ts";
import { loadModel } from "../model/folder.ts";
import { predict } from "../model/predict.ts";
import { fitVectorizer, vectorize } from "../text/vectorizer.ts";
import { defaultTrainOptions } from "./options.ts";
import { type RunOptions, trainModel } from "./run.ts";

const folder = mkdtempSync(join(tmpdir(), "extreme-run-"));
afterAll(() => rmSync(folder, { recursive: true }));

function dataset(): Dataset {
  const rng = new Rng("run");
  const texts: string[] = [];
  const labels = new CsrBuilder(false);
  for (let i = 0; i < 600; i++) {
    const label = rng.int(0, 49);
    texts.push(`word${label} some noise${rng.int(0, 9)}`);
    labels.add(label);
    labels.endRow();
  }
  const vectorizer = fitVectorizer(texts);
  return {
    train: { features: vectorize(vectorizer, texts), labels: labels.build(50), filter: null },
    test: null,
    labelTexts: Array.from({ length: 50 }, (_, i) => `label ${i}`),
    vectorizer,
  };
}

const options: RunOptions = {
  train: {
    ...defaultTrainOptions,
    dim: 16,
    epochs: 5,
    uniform: 16,
    shortlist: 4,
    group: 8,
    batch: 32,
    refreshEvery: 2,
    lrClassifier: 0.3,
  },
  heldOut: 50,
  patience: 0,
  out: null,
  resume: false,
};
const bytes = (out: string, file: string): Buffer =>
  readFileSync(join(out, readFileSync(join(out, "latest"), "utf8").trim(), file));

test("a run that was interrupted in mid-epoch goes on to the same bytes", async () => {
  const whole = join(folder, "whole");
  const result = await trainModel(dataset(), { ...options, out: whole });
  expect(result.epochs.at(-1)?.heldOutPrecision).toBeGreaterThan(0.8);
  const broken = join(folder, "broken");
  const stop = new AbortController();
  await expect(
    trainModel(dataset(), {
      ...options,
      out: broken,
      signal: stop.signal,
      onProgress: ({ epoch, phase }) => {
        if (epoch === 4 && phase === "train") stop.abort(new Error("stop"));
      },
    }),
  ).rejects.toThrow("stop");
  const resumed = await trainModel(dataset(), { ...options, out: broken, resume: true });
  expect(resumed.resumedFrom).toBe(3);
  for (const file of ["embedding.f32", "classifier.f32", "accumulators.f32", "shortlists.i32"])
    expect(bytes(broken, file).equals(bytes(whole, file))).toBe(true);
  expect(readdirSync(broken).sort()).toEqual(["epoch-0004", "epoch-0005", "latest"]);
});

test("refreshes beside training repeat to the byte, interrupted or not", async () => {
  const train = { ...options.train, refresh: "async" as const };
  const whole = join(folder, "beside");
  const result = await trainModel(dataset(), { ...options, train, out: whole });
  expect(result.epochs.map((e) => e.scanPairsPerPoint > 0)).toEqual([
    ...[false, true, false, true, false],
  ]);
  expect(result.epochs.at(-1)?.heldOutPrecision).toBeGreaterThan(0.7);
  const broken = join(folder, "beside-broken");
  const stop = new AbortController();
  await expect(
    trainModel(dataset(), {
      ...options,
      train,
      out: broken,
      signal: stop.signal,
      onProgress: ({ epoch }) => {
        if (epoch === 4) stop.abort(new Error("stop"));
      },
    }),
  ).rejects.toThrow("stop");
  await trainModel(dataset(), { ...options, train, out: broken, resume: true });
  for (const file of ["embedding.f32", "classifier.f32", "shortlists.i32"])
    expect(bytes(broken, file).equals(bytes(whole, file))).toBe(true);
});

test("a run in bf16 goes on to the same bytes, and its model takes new labels", async () => {
  const train = { ...options.train, precision: "bf16" as const };
  const whole = join(folder, "bf16");
  await trainModel(dataset(), { ...options, train, out: whole });
  const broken = join(folder, "bf16-broken");
  const stop = new AbortController();
  await expect(
    trainModel(dataset(), {
      ...options,
      train,
      out: broken,
      signal: stop.signal,
      onProgress: ({ epoch, phase }) => {
        if (epoch === 3 && phase === "train") stop.abort(new Error("stop"));
      },
    }),
  ).rejects.toThrow("stop");
  await trainModel(dataset(), { ...options, train, out: broken, resume: true });
  expect(bytes(broken, "classifier.bf16").equals(bytes(whole, "classifier.bf16"))).toBe(true);
  const loaded = loadModel(whole);
  expect(loaded.model.precision).toBe("bf16");
  const rows = vectorize(loaded.vectorizer!, ["word7 something else"]);
  expect(predict(loaded.model, rows, 1).labels[0]).toBe(7);
  const more = addLabels(loaded, [{ name: "word7 noise3", examples: [] }]);
  expect(predict(more.model, vectorize(loaded.vectorizer!, ["word7 noise3"]), 2).labels).toContain(
    50,
  );
});

test("a run of the residual encoder and momentum goes on to the same bytes", async () => {
  const train = {
    ...options.train,
    encoder: "residual" as const,
    labelOptimizer: "momentum" as const,
    lrClassifier: 0.05,
  };
  const whole = join(folder, "residual");
  await trainModel(dataset(), { ...options, train, out: whole });
  const broken = join(folder, "residual-broken");
  const stop = new AbortController();
  await expect(
    trainModel(dataset(), {
      ...options,
      train,
      out: broken,
      signal: stop.signal,
      onProgress: ({ epoch, phase }) => {
        if (epoch === 3 && phase === "train") stop.abort(new Error("stop"));
      },
    }),
  ).rejects.toThrow("stop");
  await trainModel(dataset(), { ...options, train, out: broken, resume: true });
  for (const file of ["classifier.f32", "residual-up.f32", "label-optimizer.f32"])
    expect(bytes(broken, file).equals(bytes(whole, file))).toBe(true);
  const loaded = loadModel(whole);
  const rows = vectorize(loaded.vectorizer!, ["word7 something else"]);
  expect(predict(loaded.model, rows, 1).labels[0]).toBe(7);
});

test("a stored model gives the same rankings, with label names, from text", async () => {
  const out = join(folder, "stored");
  const { stored } = await trainModel(dataset(), { ...options, out });
  const loaded = loadModel(out);
  const rows = vectorize(loaded.vectorizer!, ["word7 something else", ""]);
  const ranking = predict(loaded.model, rows, 3);
  expect(ranking).toEqual(predict(stored.model, rows, 3));
  expect(loaded.labelTexts?.[ranking.labels[0]!]).toBe("label 7");
});

test("other settings, a used folder, a damaged folder and a folder without model are told apart", async () => {
  const out = join(folder, "used");
  await trainModel(dataset(), { ...options, out });
  await expect(trainModel(dataset(), { ...options, out })).rejects.toThrow(/holds a model already/);
  await expect(
    trainModel(dataset(), { ...options, train: { ...options.train, seed: 2 }, out, resume: true }),
  ).rejects.toThrow(/other settings or data/);
  truncateSync(join(out, "epoch-0005", "classifier.f32"), 100);
  expect(() => loadModel(out)).toThrow(/has 100 bytes instead of 3200/);
  expect(() => loadModel(folder)).toThrow(/holds no model/);
});

test("stops early when the held-out precision no longer grows", async () => {
  const result = await trainModel(dataset(), {
    ...options,
    train: { ...options.train, epochs: 30 },
    patience: 2,
  });
  expect(result.stoppedEarly).toBe(true);
  expect(result.epochs.length).toBeLessThan(30);
});
