import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadGgml, ThreadPool } from "@millrace/ggml";
import { afterAll, expect, test } from "vitest";
import type { TrainingGraph } from "../graph/graph.ts";
import { buildModel } from "../models/index.ts";
import { streamOf } from "./batch.ts";
import { loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { TrainingExecutor } from "./executor.ts";
import { exportSafetensors } from "./export-safetensors.ts";
import { initialise } from "./initial.ts";
import { measure } from "./measure.ts";
import { optimizers } from "./optimizer.ts";
import { keepingPlan } from "./plans.conformance.ts";
import { executorProblem } from "./problem.ts";
import { referenceLoss } from "./reference.conformance.ts";
import { syntheticBatch } from "./synthetic-data.ts";

const { library } = loadGgml();
const pool = new ThreadPool(library, 1);
const folder = mkdtempSync(join(tmpdir(), "remat-evaluation-"));
afterAll(() => {
  pool[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});
const machine = { library, pool };

function open(graph: TrainingGraph, keep: (j: number) => boolean): TrainingExecutor {
  const table = measure(machine, graph, { seconds: 0 });
  const optimizer = optimizers.sgd;
  const plan = keepingPlan(executorProblem(graph, table, optimizer), keep);
  const executor = new TrainingExecutor(machine, { graph, table, plan, optimizer, seed: 1 });
  initialise(executor, 1);
  return executor;
}

function statisticsOf(executor: TrainingExecutor) {
  return new Map(
    executor.schedule.statistics.map(({ name, channels, running }) => {
      const values = Float64Array.from(executor.values(running));
      return [name, { mean: values.slice(0, channels), variance: values.slice(channels) }] as const;
    }),
  );
}

function train(executor: TrainingExecutor, steps: number): void {
  const { graph } = executor.setup;
  for (let step = 0; step < steps; step++) {
    executor.load(streamOf(graph, syntheticBatch(graph, 1, step)));
    executor.train();
  }
}

const subjects = [
  buildModel("resnet-small", { batch: 16, image: [8, 8] }),
  buildModel("unet", { batch: 1, image: [16, 16], upsampling: "transposed" }),
  buildModel("gpt-small", {
    ...{ batch: 2, tokens: 8, layers: 1, width: 32, heads: 2 },
    ...{ feedForward: 32, vocabulary: 16, dropout: 0.3 },
  }),
];

test.each(subjects)("$name is evaluated without dropout and by running statistics", (graph) => {
  using executor = open(graph, () => true);
  train(executor, 2);
  const batch = syntheticBatch(graph, 1, 7);
  executor.load(streamOf(graph, batch));
  const { loss, accuracy } = executor.evaluate();
  const parameters = executor.parameters.map(({ value }) =>
    Float64Array.from(executor.values(value)),
  );
  const draw = { seed: 1, step: executor.step };
  const expected = referenceLoss(graph, parameters, batch, draw, statisticsOf(executor));
  expect(Math.abs(loss / expected - 1)).toBeLessThan(1e-4);
  expect(accuracy).toBeGreaterThanOrEqual(0);
  expect(accuracy).toBeLessThanOrEqual(1);
  // Evaluation leaves training as it was.
  executor.load(streamOf(graph, batch));
  const before = executor.gradients();
  executor.evaluate();
  expect(executor.gradients()).toBe(before);
});

test("recomputation does not count a batch twice in the running statistics", () => {
  const graph = subjects[0] as TrainingGraph;
  using all = open(graph, () => true);
  using none = open(graph, () => false);
  for (const executor of [all, none]) train(executor, 3);
  expect(none.schedule.calls.length).toBeGreaterThan(all.schedule.calls.length);
  expect(statisticsOf(none)).toEqual(statisticsOf(all));
  for (const { mean, variance } of statisticsOf(all).values()) {
    expect(mean.some((m) => m !== 0)).toBe(true);
    expect(variance.every((v) => v > 0)).toBe(true);
  }
});

test("checkpoints and exports hold the running statistics", () => {
  const graph = subjects[0] as TrainingGraph;
  using first = open(graph, () => true);
  train(first, 2);
  saveCheckpoint(first, join(folder, "checkpoint"));
  using second = open(graph, () => true);
  loadCheckpoint(second, join(folder, "checkpoint"));
  expect(statisticsOf(second)).toEqual(statisticsOf(first));

  const path = join(folder, "model.safetensors");
  const { bytes } = exportSafetensors(first, path);
  const file = readFileSync(path);
  expect(file.length).toBe(bytes);
  const length = Number(file.readBigUInt64LE());
  expect(length % 8).toBe(0);
  const header = JSON.parse(file.toString("utf8", 8, 8 + length));
  const tensor = (name: string): number[] => {
    const { dtype, shape, data_offsets } = header[name];
    const [from, to] = data_offsets as [number, number];
    expect(dtype).toBe("F32");
    expect(to - from).toBe(4 * shape.reduce((n: number, d: number) => n * d, 1));
    return Array.from({ length: (to - from) / 4 }, (_, i) =>
      file.readFloatLE(8 + length + from + 4 * i),
    );
  };
  expect(header.__metadata__).toMatchObject({ format: "pt", step: "2" });
  const { mean, variance } = statisticsOf(first).get("bn1") as {
    mean: Float64Array;
    variance: Float64Array;
  };
  expect(tensor("bn1.running_mean")).toEqual([...mean]);
  expect(tensor("bn1.running_var")).toEqual([...variance]);
  const conv = first.parameters[0]!;
  expect(tensor(conv.name)).toEqual([...first.values(conv.value)]);
});

test("a damaged checkpoint is refused with what is wrong, and nothing changes", () => {
  const graph = subjects[0] as TrainingGraph;
  using saved = open(graph, () => true);
  train(saved, 2);
  const dir = join(folder, "damaged");
  saveCheckpoint(saved, dir);
  const [state, tensors] = ["state.json", "tensors.f32"].map((name) => join(dir, name)) as [
    string,
    string,
  ];
  const whole = { state: readFileSync(state), tensors: readFileSync(tensors) };
  using other = open(graph, () => true);
  const first = other.parameters[0]!.value;
  const before = other.values(first).slice();
  const flipped = Buffer.from(whole.tensors);
  flipped[whole.tensors.length >> 1]! ^= 1;
  const cases = [
    [tensors, flipped, /their checksum differs/],
    [tensors, whole.tensors.subarray(4), /have \d+ bytes instead of \d+/],
    [state, Buffer.from("{"), /state\.json cannot be read/],
  ] as const;
  for (const [path, bytes, message] of cases) {
    writeFileSync(path, bytes);
    expect(() => loadCheckpoint(other, dir)).toThrow(message);
    expect(other.values(first)).toEqual(before);
    expect(other.step).toBe(0);
    writeFileSync(state, whole.state);
    writeFileSync(tensors, whole.tensors);
  }
  loadCheckpoint(other, dir);
  expect(other.step).toBe(2);
});
