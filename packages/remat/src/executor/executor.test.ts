import { Rng } from "@millrace/core";
import { loadGgml, ThreadPool } from "@millrace/ggml";
import { afterAll, describe, expect, test } from "vitest";
import { elements, type TrainingGraph } from "../graph/graph.ts";
import { GraphBuilder, square } from "../models/builder.ts";
import { buildModel } from "../models/index.ts";
import { simulate } from "../problem/simulate.ts";
import { type BatchData, streamOf } from "./batch.ts";
import { TrainingExecutor } from "./executor.ts";
import { initialise } from "./initial.ts";
import { measure } from "./measure.ts";
import { optimizers } from "./optimizer.ts";
import { keepingPlan, type Pick } from "./plans.conformance.ts";
import { executorProblem } from "./problem.ts";
import { referenceLoss } from "./reference.conformance.ts";
import type { CostTable } from "./table.ts";

const { library } = loadGgml();
const pool = new ThreadPool(library, 1);
afterAll(() => pool[Symbol.dispose]());
const machine = { library, pool };

function batchFor(graph: TrainingGraph, seed = 1): BatchData {
  const rng = new Rng(seed);
  return Object.fromEntries(
    graph.inputs.map(({ name, dims, type }) => {
      const n = elements(dims);
      const values =
        type === "i32"
          ? Int32Array.from({ length: n }, () => rng.int(0, graph.name === "branches" ? 2 : 9))
          : Float32Array.from({ length: n }, () => rng.normal());
      return [name, values];
    }),
  );
}

function pools(): TrainingGraph {
  const b = new GraphBuilder();
  const image = b.input("image", [3, 3, 12, 12]);
  const labels = b.input("labels", [3], "i32");
  let x = b.relu("r1", b.conv("c1", image, 8, square(3, 1, 1), { bias: true }));
  x = b.maxPool("max", x, square(3, 2, 1));
  x = b.relu("r2", b.conv("c2", x, 16, square(3, 1, 1), { bias: true }));
  x = b.averagePool("average", x, square(2, 2));
  x = b.dropout("drop", b.relu("r3", b.linear("fc1", x, 20, { bias: true })), 0.25);
  b.crossEntropy("loss", b.linear("fc2", x, 10, { bias: true }), labels);
  return b.build("pools", 3);
}

/** Short enough that no ReLU switches, long enough for double precision. */
const reach = 1e-6;

/** What the vision models add to convolutions: groups, ReLU6, branches that are joined, windows past the end, enlargement. */
function branches(): TrainingGraph {
  const b = new GraphBuilder();
  const image = b.input("image", [2, 4, 13, 11]);
  const labels = b.input("labels", [2, 14, 12], "i32");
  let x = b.relu6("r0", b.batchNorm("n0", b.conv("c0", image, 8, square(3, 1, 1), { groups: 4 })));
  x = b.conv("depth", x, 8, square(3, 1, 1), { groups: 8, bias: true });
  const halved = b.relu6("r1", b.conv("half", x, 16, square(3, 2, 1), { groups: 8 }));
  const pooled = b.maxPool("pool", x, square(2, 2), true);
  const wide = b.conv("wide", halved, 12, square(5, 1, 2), { groups: 2 });
  x = b.concat("joined", [pooled, wide, b.conv("one", halved, 4, square(1))]);
  x = b.relu("r2", b.batchNorm("n2", b.conv("c2", b.upsample("up", x, 2), 6, square(3, 1, 1))));
  b.crossEntropy("loss", b.conv("classes", x, 3, square(1), { bias: true }), labels);
  return b.build("branches", 2);
}

/** What imported graphs add: windows and strides of other forms, transposed convolutions, bilinear enlargement. */
function windows(): TrainingGraph {
  const b = new GraphBuilder();
  const image = b.input("image", [2, 3, 11, 13]);
  const labels = b.input("labels", [2], "i32");
  const wide = { kernel: [3, 5], stride: [2, 1], padding: [1, 2] } as const;
  let x = b.relu("r0", b.conv("c0", image, 6, wide, { bias: true }));
  x = b.maxPool("max", x, { kernel: [2, 3], stride: [1, 2], padding: [0, 1] });
  x = b.averagePool("average", x, { kernel: [2, 1], stride: [1, 1], padding: [0, 0] });
  x = b.conv("c1", x, 8, { kernel: [2, 3], stride: [1, 1], padding: [1, 1] });
  x = b.convTranspose(
    "t0",
    x,
    6,
    { kernel: [3, 2], stride: [2, 3], padding: [1, 0] },
    { bias: true },
  );
  x = b.relu("r1", b.convTranspose("t1", x, 8, square(3, 1, 1)));
  const grouped = { kernel: [3, 4], stride: [3, 4], padding: [1, 0] } as const;
  x = b.conv("g0", x, 8, grouped, { groups: 4, bias: true });
  x = b.relu("r2", b.upsample("up", x, 3, "bilinear"));
  b.crossEntropy("loss", b.linear("fc", x, 10, { bias: true }), labels);
  return b.build("windows", 2);
}

/** So many images that a convolution over chunks of them runs a graph again and again, with a rest that fills none. */
function manyImages(): TrainingGraph {
  const b = new GraphBuilder();
  const image = b.input("image", [27, 2, 22, 22]);
  const labels = b.input("labels", [27], "i32");
  let x = b.relu("r0", b.conv("c0", image, 3, square(3, 1, 1), { bias: true }));
  x = b.relu("r1", b.conv("c1", x, 2, square(3, 1, 1)));
  x = b.conv("c2", x, 3, square(2, 2));
  x = b.convTranspose("t0", x, 2, square(2, 2), { bias: true });
  x = b.maxPool("max", b.convTranspose("t1", x, 2, square(3, 1, 1)), square(5, 5));
  b.crossEntropy("loss", b.linear("fc", x, 10), labels);
  return b.build("many-images", 27);
}

const small = {
  batch: 2,
  tokens: 12,
  layers: 1,
  width: 32,
  heads: 4,
  feedForward: 48,
  vocabulary: 20,
};
const graphs: Readonly<Record<string, () => TrainingGraph>> = {
  "convolutions, pools, dropout": pools,
  "groups, joins, enlargement, classes of pixels": branches,
  "windows of any form, transposed, bilinear": windows,
  "chunks of images": manyImages,
  "a residual network": () => buildModel("resnet-small", { batch: 3, image: [8, 8] }),
  "a Llama-style decoder": () => buildModel("llama-small", { ...small, keyHeads: 2, dropout: 0.1 }),
  "a GPT-like decoder": () => buildModel("gpt-small", small),
  "a BERT-like encoder": () => buildModel("bert-small", small),
};

/** Opens an executor with a plan that the simulator accepted. */
function open(graph: TrainingGraph, table: CostTable, keep: (j: number) => boolean, pick?: Pick) {
  const problem = executorProblem(graph, table, optimizers.sgd);
  const plan = keepingPlan(problem, keep, pick);
  const verdict = simulate(problem, plan);
  if (!verdict.valid) throw new Error(`${verdict.at}: ${verdict.reason}`);
  const executor = new TrainingExecutor(machine, {
    graph,
    table,
    plan,
    optimizer: optimizers.sgd,
    seed: 1,
  });
  initialise(executor, 1);
  expect(executor.report.livePeakBytes).toBe(verdict.peak);
  return { executor, peak: verdict.peak };
}

function gradientsOf(executor: TrainingExecutor, batch: BatchData) {
  executor.load(streamOf(executor.setup.graph, batch));
  const loss = executor.gradients();
  return {
    loss,
    gradients: executor.parameters.map(({ gradient }) => executor.values(gradient).slice()),
  };
}

const bits = (v: Float32Array): string =>
  Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString("base64");
const norm = (v: Float32Array): number => Math.sqrt(v.reduce((s, x) => s + x * x, 0));

/** Largest difference of two gradients relative to their size. */
function distance(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  return Math.max(
    ...a.map((x, i) => {
      const y = b[i] as Float32Array;
      return norm(x.map((v, k) => v - y[k]!)) / Math.max(norm(x), 1e-3);
    }),
  );
}

/** Compares loss and gradients of an executor with a forward pass in double precision and its central differences. */
function expectReference(graph: TrainingGraph, executor: TrainingExecutor, batch: BatchData): void {
  const { loss, gradients } = gradientsOf(executor, batch);
  const parameters = executor.parameters.map(({ value }) =>
    Float64Array.from(executor.values(value)),
  );
  const at = () => referenceLoss(graph, parameters, batch, { seed: 1, step: 0 });
  expect(Math.abs(loss / at() - 1)).toBeLessThan(1e-5);
  const largest = Math.max(...gradients.map(norm));
  gradients.forEach((g, i) => {
    const size = norm(g);
    // Biases before a batch norm have no gradient at all; what is there is rounding.
    if (size < 1e-4 * largest) return;
    const w = parameters[i]!;
    const before = w.slice();
    const along = (distance: number): number => {
      for (let k = 0; k < w.length; k++) w[k] = before[k]! + (distance * g[k]!) / size;
      return at();
    };
    const slope = (along(reach) - along(-reach)) / (2 * reach);
    w.set(before);
    expect(Math.abs(slope / size - 1), executor.parameters[i]!.name).toBeLessThan(5e-4);
  });
}

describe.each(Object.entries(graphs))("%s", (_, make) => {
  const graph = make();
  const table = measure(machine, graph, { seconds: 0 });
  const batch = batchFor(graph);

  test("what is computed again gives the same bits, in less memory", () => {
    const { executor: all, peak } = open(graph, table, () => true);
    using _a = all;
    const kept = gradientsOf(all, batch);
    for (const keep of [() => false, (j: number) => j % 3 === 0]) {
      const { executor, peak: less } = open(graph, table, keep);
      using _e = executor;
      const again = gradientsOf(executor, batch);
      // Columns of all images at once, made again, outweigh what these small activations leave.
      if (graph.name !== "many-images") expect(less).toBeLessThanOrEqual(peak);
      expect(again.loss).toBe(kept.loss);
      expect(again.gradients.map(bits)).toEqual(kept.gradients.map(bits));
    }
  });

  test("loss and gradients are those of a double-precision forward pass and its central differences", () => {
    using executor = open(graph, table, (j) => j % 2 === 0).executor;
    expectReference(graph, executor, batch);
  });

  test("every implementation gives the same gradients", () => {
    using first = open(graph, table, () => true).executor;
    const expected = gradientsOf(first, batch);
    const used = new Set<string>();
    const most = Math.max(
      ...Object.values(table.operators).flatMap((r) => [r.forward.length, r.backward.length]),
    );
    for (let k = 1; k < most; k++) {
      const { executor } = open(
        graph,
        table,
        (j) => (j + k) % 2 === 0,
        () => k,
      );
      using _e = executor;
      const { loss, gradients } = gradientsOf(executor, batch);
      expect(Math.abs(loss / expected.loss - 1)).toBeLessThan(1e-5);
      expect(distance(expected.gradients, gradients), `round ${k}`).toBeLessThan(1e-4);
      for (const call of executor.setup.plan)
        if (call.kind !== "free") used.add(`${call.kind} ${call.operator} ${call.choice}`);
    }
    expect(used.size).toBeGreaterThan(graph.operators.length);
  });
});

// The loss is a staircase here: a step as short as single precision can see leaps over several of its stairs.
test("gradients are right where batch norm sees two values", () => {
  const graph = buildModel("resnet-small", { batch: 2, image: [4, 4] });
  const batch = batchFor(graph);
  using executor = open(graph, measure(machine, graph, { seconds: 0 }), () => true).executor;
  expectReference(graph, executor, batch);
});
