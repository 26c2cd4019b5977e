import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { afterAll, expect, test } from "vitest";
import { readDataset } from "../data/dataset.ts";
import { readPredictions } from "../data/sparse.ts";
import { evaluate } from "../metrics/evaluate.ts";
import { rank } from "../metrics/ranking.ts";
import { BayesReference } from "./bayes.ts";
import { generate } from "./generate.ts";
import { pseudoWord } from "./pseudo-word.ts";
import { cumulate, makePoint, makeWorld, place } from "./world.ts";

const folder = mkdtempSync(join(tmpdir(), "extreme-synthetic-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("a generated set is read back with the statistics it tells, twice the same", async () => {
  const out = join(folder, "set");
  const told = await generate({ labels: 3000, seed: 5, testPoints: 2000, out });
  const { train, test: held, labelTexts } = await readDataset(out);
  expect(labelTexts?.length).toBe(3000);
  expect(train.labels.rows).toBe(told.points);
  expect(train.labels.indices.length / told.points).toBeCloseTo(told.labelsPerPoint, 9);
  // Every label has a training point; most have few.
  expect(new Set(train.labels.indices).size).toBe(3000);
  expect(told.singletons).toBeGreaterThan(0.3);
  expect(told.points / 3000).toBeGreaterThan(1.6);
  const bayes = await readPredictions(join(out, "bayes.txt"), 2000, 3000);
  const real = evaluate(rank(bayes, 5), held!.labels).at.map((m) => 100 * m.precision);
  // 2,000 points: the standard error is near one percent.
  [told.bayes.p1, told.bayes.p3, told.bayes.p5].forEach((expected, i) => {
    expect(Math.abs(real[i]! - expected)).toBeLessThan(4);
  });
  const again = join(folder, "again");
  await generate({ labels: 3000, seed: 5, testPoints: 2000, out: again });
  for (const file of ["trn_X.txt", "tst_X_Y.txt", "bayes.txt"])
    expect(readFileSync(join(again, file)).equals(readFileSync(join(out, file)))).toBe(true);
});

test("the reference chances are frequencies of the world itself", () => {
  const world = makeWorld({ labels: 48, seed: 2 });
  const reference = new BayesReference(world, 5);
  const cumulated = cumulate(world.counts);
  const rng = new Rng("frequencies");
  // Points grouped by what their text tells; in each group a label's share must be its chance.
  const groups = new Map<string, { n: number; hits: Map<number, number> }>();
  for (let i = 0; i < 60_000; i++) {
    const point = makePoint(world, place(cumulated, rng.next() * world.points), rng);
    const key = JSON.stringify([[...point.words].sort(), point.topic]);
    const group = groups.get(key) ?? { n: 0, hits: new Map() };
    group.n++;
    for (const label of point.labels) group.hits.set(label, (group.hits.get(label) ?? 0) + 1);
    groups.set(key, group);
  }
  let checked = 0;
  for (const [key, { n, hits }] of groups) {
    if (n < 400) continue;
    const [words, topic] = JSON.parse(key) as [number[], number];
    const { labels, chances } = reference.rank({ words, topic });
    labels.forEach((label, r) => {
      if (label < 0) return;
      const chance = chances[r]!;
      const error = Math.sqrt((chance * (1 - chance)) / n) + 1e-3;
      expect(Math.abs((hits.get(label) ?? 0) / n - chance)).toBeLessThan(4.5 * error);
      checked++;
    });
  }
  expect(checked).toBeGreaterThan(20);
});

test("words differ for different numbers and endings", () => {
  const all = ["", "x", "q"].flatMap((e) =>
    Array.from({ length: 9000 }, (_, i) => pseudoWord(i, e)),
  );
  expect(new Set(all).size).toBe(all.length);
});
