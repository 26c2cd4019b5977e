import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { trainableConformance } from "@millrace/core/job/conformance";
import { loadGgml, ThreadPool } from "@millrace/ggml";
import { Gguf, openGguf } from "@millrace/ggml/gguf";
import { afterAll, expect, test } from "vitest";
import { elements, type TrainingGraph } from "../graph/graph.ts";
import { buildModel } from "../models/index.ts";
import type { BatchData } from "./batch.ts";
import { measure } from "./measure.ts";
import { optimizers } from "./optimizer.ts";
import { keepingPlan } from "./plans.conformance.ts";
import { executorProblem } from "./problem.ts";
import { GraphTrainable } from "./trainable.ts";

const folder = mkdtempSync(join(tmpdir(), "remat-trainable-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function batchOf(graph: TrainingGraph, i: number): BatchData {
  const rng = new Rng(`batch/${i}`);
  return Object.fromEntries(
    graph.inputs.map(({ name, dims, type }) => [
      name,
      type === "i32"
        ? Int32Array.from({ length: elements(dims) }, () => rng.int(0, 9))
        : Float32Array.from({ length: elements(dims) }, () => rng.normal()),
    ]),
  );
}

function subject(graph: TrainingGraph, kind: keyof typeof optimizers) {
  const { library } = loadGgml();
  using pool = new ThreadPool(library, 1);
  const table = measure({ library, pool }, graph, { seconds: 0 });
  const optimizer = optimizers[kind];
  const plan = keepingPlan(executorProblem(graph, table, optimizer), (j) => j % 4 === 0);
  return {
    make: () => GraphTrainable.open({ graph, table, plan, optimizer, seed: 3 }),
    batch: (i: number) => batchOf(graph, i),
    dir: (name: string) => join(folder, graph.name, name),
  };
}

const decoder = buildModel("gpt-small", {
  batch: 2,
  tokens: 8,
  layers: 1,
  width: 32,
  heads: 2,
  feedForward: 32,
  vocabulary: 16,
});
const network = buildModel("resnet-small", { batch: 2, image: [8, 8] });

trainableConformance("a decoder with dropout under AdamW", subject(decoder, "adamw"));
trainableConformance("a residual network under SGD with momentum", subject(network, "sgd"));

test("a loss that is no number stops the run with its step, and the parameters stay", async () => {
  const { make, batch } = subject(network, "sgd");
  await using model = await make();
  await model.step(batch(0));
  const bad = batch(1);
  (bad["image"] as Float32Array).fill(Number.NaN);
  await expect(model.step(bad)).rejects.toThrow(/of step 2 is (NaN|not finite)/);
  expect(Number.isFinite((await model.step(batch(2))).loss)).toBe(true);
});

test("data that does not fit is refused before native code sees it", async () => {
  const { make, batch } = subject(network, "sgd");
  await using model = await make();
  const good = batch(0);
  await expect(model.step({ ...good, labels: new Int32Array([0, 10]) })).rejects.toThrow(
    /labels holds 10, which is not in 0 … 9/,
  );
  await expect(model.step({ image: good["image"]! })).rejects.toThrow(/2 i32 values of labels/);
  await expect(model.step({ ...good, image: new Float32Array(3) })).rejects.toThrow(
    /384 f32 values of image, not 3/,
  );
});

test("the process holds no more than the plan and 8 MiB", async () => {
  const graph = buildModel("resnet-small", { batch: 64, image: [32, 32] });
  const { library } = loadGgml();
  using pool = new ThreadPool(library, 1);
  const table = measure({ library, pool }, graph, { seconds: 0 });
  const problem = executorProblem(graph, table, optimizers.sgd);
  // The first implementation of a convolution keeps all columns: the plan here takes the smallest.
  const plan = keepingPlan(
    problem,
    (j) => j % 3 === 0,
    (direction, j) => {
      const list = problem.operators[j]![direction];
      return list.reduce((best, c, i) => (c.workspace < list[best]!.workspace ? i : best), 0);
    },
  );
  await using model = await GraphTrainable.open({
    graph,
    table,
    plan,
    optimizer: optimizers.sgd,
    seed: 1,
  });
  const before = model.process.residentMemory();
  if (before === null || !model.process.resetPeak()) return;
  await model.step(batchOf(graph, 0));
  const after = model.process.residentMemory()!;
  expect(model.memory.guarded).toBe(true);
  expect(after.peakBytes - before.residentBytes).toBeLessThan(model.memory.arenaBytes + 2 ** 23);
  // The memory is real: most of it was touched.
  expect(after.peakBytes - before.residentBytes).toBeGreaterThan(0.5 * model.memory.arenaBytes);
});

test("a trained decoder is a GGUF file with the engine's tensor names", async () => {
  const graph = buildModel("llama-small", {
    batch: 1,
    tokens: 16,
    layers: 2,
    width: 64,
    heads: 4,
    keyHeads: 2,
    feedForward: 96,
    vocabulary: 512,
  });
  const { make, batch } = subject(graph, "adamw");
  await using model = await make();
  await model.step(batch(0));
  const path = join(folder, "trained.gguf");
  await model.process.call("export", { path, type: "f32" });
  using file = openGguf(path);
  expect(file).toBeInstanceOf(Gguf);
  expect(file.tensors.map(({ name }) => name)).toContain("blk.1.ffn_down.weight");
});
