import { loadGgml, ThreadPool } from "@millrace/ggml";
import { afterAll, expect, test } from "vitest";
import { buildModel } from "../models/index.ts";
import { simulate } from "../problem/simulate.ts";
import { streamOf } from "./batch.ts";
import { TrainingExecutor } from "./executor.ts";
import { initialise } from "./initial.ts";
import { measure } from "./measure.ts";
import { optimizers } from "./optimizer.ts";
import { keepingPlan } from "./plans.conformance.ts";
import { executorProblem } from "./problem.ts";
import { referenceLoss } from "./reference.conformance.ts";
import { syntheticBatch } from "./synthetic-data.ts";

const { library } = loadGgml();
const pool = new ThreadPool(library, 1);
afterAll(() => pool[Symbol.dispose]());
const machine = { library, pool };
const optimizer = { ...optimizers.sgd, momentum: 0 };

/** Small images, few samples: every operator of the real widths runs. */
const subjects = [
  ["resnet-18", 1, 64, "nearest"],
  ["vgg-16", 1, 32, "nearest"],
  ["mobilenet-v2", 2, 32, "nearest"],
  ["googlenet", 1, 64, "nearest"],
  ["unet", 1, 16, "nearest"],
  ["unet", 1, 16, "bilinear"],
  ["unet", 1, 16, "transposed"],
] as const;

test.each(subjects)("%s trains under a plan (%i, %i, %s)", (name, batchSize, side, upsampling) => {
  const graph = buildModel(name, {
    batch: batchSize,
    image: [side, side],
    classes: 10,
    upsampling,
  });
  const table = measure(machine, graph, { seconds: 0 });
  const problem = executorProblem(graph, table, optimizer);
  const batch = syntheticBatch(graph, 1, 0);
  const open = (keep: (j: number) => boolean) => {
    const plan = keepingPlan(problem, keep);
    const verdict = simulate(problem, plan);
    if (!verdict.valid) throw new Error(`${verdict.at}: ${verdict.reason}`);
    const executor = new TrainingExecutor(machine, { graph, table, plan, optimizer, seed: 1 });
    expect(executor.report.livePeakBytes).toBe(verdict.peak);
    return executor;
  };
  using all = open(() => true);
  using some = open((j) => j % 4 > 0);
  initialise(all, 1);
  const parameters = all.parameters.map(({ value }, i) => {
    some.values(some.parameters[i]?.value as number).set(all.values(value));
    return new Float64Array(all.values(value));
  });
  for (const executor of [all, some]) executor.load(streamOf(graph, batch));
  const { loss } = all.train();
  expect(some.train().loss).toBe(loss);
  all.parameters.forEach(({ name: parameter, gradient }, i) => {
    const bytes = (executor: TrainingExecutor, buffer: number): Buffer => {
      const values = executor.values(buffer);
      return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    };
    const other = some.parameters[i]?.gradient as number;
    if (!bytes(all, gradient).equals(bytes(some, other)))
      throw new Error(`the gradients of ${parameter} differ`);
  });
  const reference = referenceLoss(graph, parameters, batch, { seed: 1, step: 0 });
  expect(Math.abs(loss / reference - 1)).toBeLessThan(1e-4);
});
