import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CsrBuilder } from "../data/csr.ts";
import { addLabels, removeLabels } from "../model/edit-labels.ts";
import { loadModel, type StoredModel, saveSnapshot } from "../model/folder.ts";
import { predict } from "../model/predict.ts";
import { fitVectorizer, vectorize } from "../text/vectorizer.ts";
import { defaultTrainOptions } from "../train/options.ts";
import { trainModel } from "../train/run.ts";
import { Predictor } from "./predictor.ts";
import { ExtremeServer } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "extreme-serve-"));
let stored: StoredModel;
let server: ExtremeServer;

beforeAll(async () => {
  const rng = new Rng("serve");
  const labels = new CsrBuilder(false);
  const texts = Array.from({ length: 900 }, () => {
    const label = rng.int(0, 59);
    labels.add(label);
    labels.endRow();
    return `word${label} noise${rng.int(0, 9)} rare${rng.int(0, 19)}`;
  });
  const vectorizer = fitVectorizer(texts);
  ({ stored } = await trainModel(
    {
      train: { features: vectorize(vectorizer, texts), labels: labels.build(60), filter: null },
      test: null,
      labelTexts: Array.from({ length: 60 }, (_, i) => `name ${i}`),
      vectorizer,
    },
    {
      train: {
        ...defaultTrainOptions,
        dim: 16,
        epochs: 6,
        uniform: 16,
        shortlist: 4,
        lrClassifier: 0.3,
        batch: 32,
      },
      heldOut: 0,
      patience: 0,
      out: join(folder, "model"),
      resume: false,
    },
  ));
  server = await ExtremeServer.start(new Predictor(stored), {
    host: "127.0.0.1",
    port: 0,
    maxBatch: 10,
  });
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

/** Whatever the server said: an object, or text. */
interface Answer {
  readonly labels: readonly { label: number; name: string; probability: number }[];
  readonly points: readonly { labels: readonly { label: number }[] }[];
  readonly error: { readonly message: string };
  readonly text: string;
}

async function ask(path: string, body?: unknown): Promise<{ status: number; value: Answer }> {
  const response = await fetch(`${server.url}${path}`, {
    ...(body === undefined
      ? {}
      : { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, value: text.startsWith("{") ? JSON.parse(text) : { text } };
}

test("a loaded predictor ranks as the exact ranking of the trained model does", () => {
  const predictor = Predictor.load(join(folder, "model"));
  const texts = ["word7 noise1", "word30 rare3", "nothing known"];
  const rows = vectorize(stored.vectorizer!, texts);
  expect(predictor.rankTexts(texts, 4)).toEqual(predict(stored.model, rows, 4));
  expect(predictor.check).toMatchObject({ recall: 1, k: 5 });
  const lists = Predictor.load(join(folder, "model"), { index: "ivf", recall: 1 });
  expect(lists.check.recall).toBe(1);
  expect(lists.rankTexts(texts, 1).labels[0]).toBe(7);
});

test("one point, a batch, health and metrics over HTTP", async () => {
  const one = await ask("/v1/predict", { text: "word7 noise2", k: 2 });
  expect(one.status).toBe(200);
  expect(one.value.labels[0]).toMatchObject({ label: 7, name: "name 7" });
  expect(one.value.labels.length).toBe(2);
  expect(one.value.labels[0]!.probability).toBeGreaterThan(one.value.labels[1]!.probability);
  const batch = await ask("/v1/predict/batch", { texts: ["word1", "word2"], k: 1 });
  expect(batch.value.points.map((p) => p.labels[0]!.label)).toEqual([1, 2]);
  const features = vectorize(stored.vectorizer!, ["word9"]);
  const given = { ids: [...features.indices], values: [...features.values!] };
  expect((await ask("/v1/predict", { features: given, k: 1 })).value.labels[0]!.label).toBe(9);
  expect((await ask("/health")).value).toMatchObject({ status: "ok", labels: 60, index: "exact" });
  const metrics = (await ask("/metrics")).value.text;
  expect(metrics).toContain("millrace_extreme_points_total 4");
  expect(metrics).toContain('millrace_extreme_requests_total{path="/v1/predict",status="200"} 2');
  expect(metrics).toContain("millrace_extreme_labels 60");
});

test("wrong requests are told what is wrong, and the server lives on", async () => {
  const cases: readonly (readonly [string, unknown, number, RegExp])[] = [
    ["/v1/predict", "{", 400, /not JSON/],
    ["/v1/predict", { words: "x" }, 400, /give text or features/],
    ["/v1/predict", { text: "x", k: 0 }, 400, /give text or features/],
    ["/v1/predict", { features: { ids: [99999] } }, 400, /feature 99999; the model knows/],
    ["/v1/predict", { features: { ids: [1, 1] } }, 400, /feature 1 twice/],
    ["/v1/predict/batch", { texts: Array(11).fill("x") }, 413, /at most 10 points, this one 11/],
    ["/v1/predict", undefined, 405, /takes POST/],
    ["/nothing", undefined, 404, /there is no \/nothing/],
  ];
  for (const [path, body, status, message] of cases) {
    const answer = await ask(path, body);
    expect(answer.status).toBe(status);
    expect(answer.value.error.message).toMatch(message);
  }
  expect((await ask("/v1/predict", { text: "word3", k: 1 })).value.labels[0]!.label).toBe(3);
});

test("a port that is taken is an error with a remedy", async () => {
  const port = Number(new URL(server.url).port);
  await expect(
    ExtremeServer.start(new Predictor(stored), { host: "127.0.0.1", port, maxBatch: 1 }),
  ).rejects.toMatchObject({ code: "ENVIRONMENT_MISSING", hint: "take another --port" });
});

test("labels are added from a few examples and removed, without retraining", () => {
  const more = addLabels(stored, [
    { name: "name of the new", examples: ["rare5 rare7", "rare7 rare5 noise1"] },
  ]);
  const removed = removeLabels(more, [7]);
  const out = join(folder, "edited");
  saveSnapshot(out, "epoch-0001", removed, { arrays: {}, texts: {} });
  const predictor = new Predictor(loadModel(out));
  expect(predictor.stored.labelTexts?.[60]).toBe("name of the new");
  const ranking = predictor.rankTexts(["rare7 rare5", "word30 noise1", "word7"], 1);
  expect(ranking.labels[0]).toBe(60);
  expect(ranking.labels[1]).toBe(30);
  expect(ranking.labels[2]).not.toBe(7);
  expect(() => addLabels(stored, [{ name: "unheard-of", examples: [] }])).toThrow(
    /no word of label "unheard-of" is known/,
  );
  expect(() => removeLabels(stored, [60])).toThrow(/there is no label 60/);
});
