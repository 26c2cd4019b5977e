/** What a user's file may hold: whatever the damage, it is a graph that can be priced, or one clear error. */
import { readFileSync } from "node:fs";
import { InvariantError, MillraceError } from "@millrace/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { csvCosts } from "../costs/measured.ts";
import { rooflineCosts } from "../costs/roofline.ts";
import { gpuLibrary } from "../gpu/library.ts";
import { pytorchLibrary } from "../gpu/pytorch.ts";
import type { TrainingGraph } from "../graph/graph.ts";
import type { CostModel } from "../graph/library.ts";
import { lower } from "../graph/lower.ts";
import { buildModel } from "../models/index.ts";
import { parseProblemFile } from "../problem/problem-file.ts";
import { storeAll } from "../solve/reference.ts";
import { importOnnx } from "./onnx-import.ts";
import { readOnnx } from "./onnx-model.ts";
import { parseTrace } from "./trace-file.ts";

/** Runs what a command does with a file; only errors that are told to a user may come out. */
function told(run: () => void): void {
  try {
    run();
  } catch (error) {
    if (error instanceof MillraceError && !(error instanceof InvariantError)) {
      expect(error.message).not.toBe("");
      return;
    }
    throw error;
  }
}

/** Lowers for both libraries, as `memory plan` does, and looks at the numbers that planning would begin with. */
function price(graph: TrainingGraph, costs: CostModel = rooflineCosts("a100")): void {
  for (const library of [pytorchLibrary, gpuLibrary]) {
    const problem = lower(graph, { library, costs, optimizerState: 0 });
    const { time, peak } = storeAll(problem);
    expect([time >= 0 && time < 1e300, peak >= 0 && peak < 1e300]).toEqual([true, true]);
  }
}

const odd = fc.constantFrom<unknown>(
  ...[null, true, -1, 0, 0.5, 3, 2 ** 31, 2 ** 53, 1e308, "", "x", "constructor", "__proto__"],
  ...["toString", "relu", "conv2d", "conv1", [], {}, [0], [1, 2, 3, 4], [[1]], "\u0000"],
);

/** A copy of a JSON value with some of its leaves, lists or objects replaced or left out. */
function damaged(value: unknown, at: readonly number[], by: unknown): unknown {
  const [step = 0, ...rest] = at;
  if (at.length === 0) return by;
  if (Array.isArray(value)) {
    if (value.length === 0) return by;
    const i = step % value.length;
    if (by === undefined && rest.length === 0) return value.toSpliced(i, 1);
    return value.with(i, damaged(value[i], rest, by));
  }
  if (typeof value !== "object" || value === null) return by;
  const keys = Object.keys(value);
  const key = keys[step % keys.length];
  if (key === undefined) return by;
  return { ...value, [key]: damaged((value as Record<string, unknown>)[key], rest, by) };
}

const changes = fc.array(
  fc.tuple(
    fc.array(fc.nat(40), { minLength: 1, maxLength: 6 }),
    fc.option(odd, { nil: undefined }),
  ),
  { minLength: 1, maxLength: 3 },
);
const changed = (value: unknown, all: readonly (readonly [readonly number[], unknown])[]) =>
  JSON.stringify(all.reduce((v, [at, by]) => damaged(v, at, by), value)) ?? "";

const window = { kernel: [3, 3], stride: [1, 1], padding: [1, 1] };
const trace = {
  format: "millrace.training-trace/1",
  name: "net",
  batch: 2,
  type: "f32",
  inputs: [
    { name: "x", dims: [2, 3, 8, 8], type: "f32" },
    { name: "tokens", dims: [2, 4], type: "i32" },
  ],
  operators: [
    {
      name: "conv1",
      kind: "conv2d",
      attributes: { ...window, groups: 1, bias: true },
      inputs: ["x"],
      dims: [2, 4, 8, 8],
      parameters: [
        { name: "conv1.weight", dims: [4, 3, 3, 3] },
        { name: "conv1.bias", dims: [4] },
      ],
      forwardSeconds: 0.25,
      backwardSeconds: 0.5,
    },
    { name: "bn", kind: "batchNorm", attributes: { epsilon: 1e-5 }, inputs: ["conv1"] },
    { name: "relu", kind: "relu", inputs: ["bn"] },
    { name: "pool", kind: "maxPool", attributes: { ...window }, inputs: ["relu"] },
    { name: "drop", kind: "dropout", attributes: { rate: 0.1 }, inputs: ["pool"] },
    { name: "add", kind: "add", inputs: ["drop", "relu"] },
    { name: "odd", kind: "MyKernel", inputs: ["add"], forwardSeconds: 1 },
    { name: "mean", kind: "globalAveragePool", inputs: ["odd"], dims: [2, 4, 1, 1] },
    {
      name: "fc",
      kind: "linear",
      attributes: { bias: false, flatten: true },
      inputs: ["mean"],
      dims: [2, 10],
      parameters: [{ name: "fc.weight", dims: [10, 4] }],
    },
    { name: "loss", kind: "crossEntropy", inputs: ["fc"], dims: [1] },
  ].map((op) => ({ dims: [2, 4, 8, 8], ...op })),
};

test("the undamaged trace is a graph", () => {
  const { graph } = parseTrace(JSON.stringify(trace), "t.json");
  price(graph);
  expect(graph.operators.map(({ operation }) => operation.kind)).not.toContain("copy");
});

test("damaged traces", () => {
  fc.assert(
    fc.property(changes, (all) => {
      told(() => {
        const { graph, costs } = parseTrace(changed(trace, all), "t.json");
        const roofline = rooflineCosts("cpu");
        price(graph, costs === null ? roofline : costs(roofline));
      });
    }),
    { numRuns: 2000 },
  );
});

test("traces that end early, or hold other bytes", () => {
  const text = JSON.stringify(trace);
  fc.assert(
    fc.property(fc.nat(text.length), fc.string({ maxLength: 3 }), (at, by) => {
      told(() => price(parseTrace(text.slice(0, at) + by, "t.json").graph));
      told(() => price(parseTrace(text.slice(0, at) + by + text.slice(at + 1), "t.json").graph));
    }),
    { numRuns: 500 },
  );
});

const problems = {
  format: "millrace.remat-cases/1",
  cases: [
    {
      name: "a",
      problem: {
        fixed: 1,
        budget: 9,
        ops: [
          {
            inputs: [],
            out: 2,
            pg: 1,
            fwd: [
              { t: 1, ws: 1 },
              { t: 2, aux: 1, again: 1 },
            ],
            bwd: [
              { t: 1, need: ["o0"] },
              { t: 2, need: ["a0"] },
            ],
          },
          {
            inputs: [0],
            out: 1,
            fwd: [{ t: 1 }, { t: 1, inplace: 0 }],
            bwd: [{ t: 1, ws: 2, need: ["o0"], inplace: 0, split: { ws: 1, frees: ["o0"] } }],
          },
        ],
      },
    },
  ],
};

test("damaged problems", () => {
  fc.assert(
    fc.property(changes, (all) => {
      told(() => {
        for (const { problem } of parseProblemFile(changed(problems, all), "p.json"))
          storeAll(problem);
      });
    }),
    { numRuns: 2000 },
  );
});

test("damaged costs", () => {
  const graph = buildModel("resnet-small", { batch: 2 });
  const text = `operator,direction,implementation,seconds
conv2d,forward,winograd,0.0021
conv1,backward,,0.0055
relu,forward,,1e-6
`;
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.nat(text.length),
          fc.constantFrom(",", "\n", '"', "-", "e", "NaN", "9", "\u0000", "Infinity", "", "\r"),
        ),
        { minLength: 1, maxLength: 4 },
      ),
      (all) => {
        const bad = all.reduce((t, [at, by]) => t.slice(0, at) + by + t.slice(at + 1), text);
        told(() => price(graph, csvCosts(bad, "c.csv", rooflineCosts("a100"))));
      },
    ),
    { numRuns: 300 },
  );
});

test("damaged ONNX models", () => {
  const sample = readFileSync(new URL("./samples/torch-1.13.onnx", import.meta.url));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 8 }),
      fc.option(fc.nat(sample.length - 1), { nil: undefined }),
      (all, cut) => {
        const bytes = Uint8Array.from(sample);
        for (const [at, value] of all) bytes[at] = value;
        told(() => {
          const whole = cut === undefined ? bytes : bytes.subarray(0, cut);
          price(importOnnx(readOnnx(whole, "m.onnx"), "m.onnx", { batch: 2 }));
        });
      },
    ),
    { numRuns: 500 },
  );
});
