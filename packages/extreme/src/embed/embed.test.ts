import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readDataset } from "../data/dataset.ts";
import { defaultTrainOptions } from "../train/options.ts";
import { Trainer } from "../train/trainer.ts";
import { embedDataset } from "./embed-dataset.ts";

const folder = mkdtempSync(join(tmpdir(), "extreme-embed-"));
const model = join(folder, "model.gguf");
const data = join(folder, "data");
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(() => {
  makeModel({ preset: "tiny", out: model });
  mkdirSync(data);
  const texts = ["a large wild cat", "a small boat", "", "a large wild cat", "stone"];
  writeFileSync(join(data, "trn_X.txt"), `${texts.join("\n")}\n`);
  writeFileSync(join(data, "trn_X_Y.txt"), "5 3\n0:1\n1:1\n2:1\n0:1\n2:1\n");
  writeFileSync(join(data, "Y.txt"), "animal\nvehicle\nthing\n");
});

test("texts become vectors of norm 1 that do not depend on what else is computed; labels train on them", async () => {
  const out = join(folder, "vectors");
  const { dim, texts, files } = await embedDataset(data, { model, out });
  expect(texts).toBe(5);
  expect(files).toEqual(["trn_X.f32", "Y.txt", "trn_X_Y.txt"]);
  const vectors = new Float32Array(readFileSync(join(out, "trn_X.f32")).buffer);
  const row = (i: number) => vectors.subarray(i * dim, (i + 1) * dim);
  for (const i of [0, 1, 3, 4]) expect(Math.hypot(...row(i))).toBeCloseTo(1, 4);
  const dot = (i: number, j: number) => row(i).reduce((s, v, at) => s + v * row(j)[at]!, 0);
  expect(dot(0, 3)).toBeCloseTo(1, 4);
  expect(dot(0, 1)).toBeLessThan(0.999);
  const { train } = await readDataset(out, { features: "vectors" });
  const options = { ...defaultTrainOptions, dim, encoder: "frozen" as const, epochs: 1 };
  expect((await new Trainer(train, options).runEpoch()).loss).toBeGreaterThan(0);
});

test("a model that is not there, and a data set without texts, are said to be so", async () => {
  await expect(
    embedDataset(data, { model: join(folder, "none.gguf"), out: join(folder, "x") }),
  ).rejects.toThrow(/none.gguf is not there/);
  await expect(embedDataset(folder, { model, out: join(folder, "x") })).rejects.toThrow(
    /holds no trn_X.txt/,
  );
  writeFileSync(join(folder, "broken.gguf"), "GGUF");
  await expect(
    embedDataset(data, { model: join(folder, "broken.gguf"), out: join(folder, "y") }),
  ).rejects.toThrow(/embedding failed/);
  expect(existsSync(join(folder, "y", "trn_X.f32"))).toBe(false);
});
