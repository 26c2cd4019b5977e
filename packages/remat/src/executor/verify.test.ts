import { loadGgml, ThreadPool } from "@millrace/ggml";
import { afterAll, expect, test } from "vitest";
import { buildModel } from "../models/index.ts";
import { aligned } from "../placement/place.ts";
import { streamOf } from "./batch.ts";
import { TrainingExecutor } from "./executor.ts";
import { initialise } from "./initial.ts";
import { measure } from "./measure.ts";
import { optimizers } from "./optimizer.ts";
import { keepingPlan } from "./plans.conformance.ts";
import { executorProblem } from "./problem.ts";
import { syntheticBatch } from "./synthetic-data.ts";
import { proveMemory } from "./verify.ts";

const { library } = loadGgml();
const pool = new ThreadPool(library, 1);
afterAll(() => pool[Symbol.dispose]());
const machine = { library, pool };
const graph = buildModel("resnet-small", { batch: 2, image: [8, 8] });
const table = measure(machine, graph, { seconds: 0 });

function opened(): TrainingExecutor {
  const { sgd } = optimizers;
  const plan = keepingPlan(executorProblem(graph, table, sgd), (j) => j % 2 === 0);
  const executor = new TrainingExecutor(machine, { graph, table, plan, optimizer: sgd, seed: 1 });
  initialise(executor, 1);
  executor.load(streamOf(graph, syntheticBatch(graph, 1, 0)));
  return executor;
}

/** Makes the first call with the operand use this place instead of the one that it was given. */
function misplace(executor: TrainingExecutor, operand: string, offset: number): number {
  const { schedule, offsets, memory } = executor;
  const call = schedule.calls.find(({ operands }) => operands.has(operand));
  if (call === undefined) throw new Error(`no call has ${operand}`);
  const at = new Map([...call.operands].map(([name, b]) => [name, offsets[b] as number] as const));
  const workspace = call.workspace < 0 ? 0 : (offsets[call.workspace] as number);
  call.runnable.bind(memory, at.set(operand, offset), workspace);
  return call.operator;
}

/** The last place of the memory that a buffer of the operand's size fits in. */
function lastPlace(executor: TrainingExecutor, operand: string): number {
  const { schedule, memory } = executor;
  const buffer = schedule.calls
    .find(({ operands }) => operands.has(operand))
    ?.operands.get(operand);
  return memory.bytesTotal - aligned(schedule.buffers[buffer as number]?.bytes as number);
}

test("a step that keeps to its buffers leaves every other canary alone", () => {
  using executor = opened();
  const { strayBytes, strayOperator, touchedPeakBytes, loss } = proveMemory(executor);
  expect({ strayBytes, strayOperator }).toEqual({ strayBytes: 0, strayOperator: -1 });
  expect(touchedPeakBytes).toBeLessThanOrEqual(executor.report.livePeakBytes);
  expect(touchedPeakBytes).toBeGreaterThan(0.5 * executor.report.livePeakBytes);
  expect(loss).toBeGreaterThan(0);
});

test("a write outside the buffers in use is found, and whose it was", () => {
  using executor = opened();
  const operator = misplace(executor, "y", lastPlace(executor, "y"));
  const { strayBytes, strayOperator } = proveMemory(executor);
  expect(strayBytes).toBeGreaterThan(0);
  expect(strayOperator).toBe(operator);
});

test("a read of memory that holds nothing changes the loss", () => {
  using sound = opened();
  using executor = opened();
  misplace(executor, "x0", lastPlace(executor, "x0"));
  // A ReLU makes zeros of the canaries, so that the loss may still be a number; not the one that it was.
  expect(proveMemory(executor).loss).not.toBe(proveMemory(sound).loss);
});
