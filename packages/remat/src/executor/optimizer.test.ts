/** Every parameter moves by the optimizer's formula, and nothing else of the step's memory does. */
import { Rng } from "@millrace/core";
import { loadGgml, ThreadPool } from "@millrace/ggml";
import { afterAll, expect, test } from "vitest";
import { buildModel } from "../models/index.ts";
import { streamOf } from "./batch.ts";
import { TrainingExecutor } from "./executor.ts";
import { initialise } from "./initial.ts";
import { measure } from "./measure.ts";
import { type Optimizer, optimizers } from "./optimizer.ts";
import { keepingPlan } from "./plans.conformance.ts";
import { executorProblem } from "./problem.ts";

const { library } = loadGgml();
const pool = new ThreadPool(library, 1);
afterAll(() => pool[Symbol.dispose]());
const machine = { library, pool };

/** A parameter in double precision with what the optimizer keeps of it. */
interface Reference {
  readonly w: Float64Array;
  readonly first: Float64Array;
  readonly second: Float64Array;
}

/** The formulas of the docs: momentum v = m v + g, w -= rate (v + decay w); AdamW with both corrections. */
function advance(o: Optimizer, step: number, { w, first, second }: Reference, g: Float32Array) {
  for (let k = 0; k < w.length; k++) {
    const [x, d] = [w[k] as number, g[k] as number];
    if (o.kind === "sgd") {
      first[k] = o.momentum * (first[k] as number) + d;
      w[k] = x - o.rate * ((first[k] as number) + o.weightDecay * x);
      continue;
    }
    const m = o.beta1 * (first[k] as number) + (1 - o.beta1) * d;
    const v = o.beta2 * (second[k] as number) + (1 - o.beta2) * d * d;
    first[k] = m;
    second[k] = v;
    const size = Math.sqrt(v / (1 - o.beta2 ** step)) + o.epsilon;
    w[k] = x * (1 - o.rate * o.weightDecay) - (o.rate * (m / (1 - o.beta1 ** step))) / size;
  }
}

test.each<readonly [string, Optimizer]>([
  ["gradient descent", { ...optimizers.sgd, momentum: 0, rate: 0.3 }],
  ["momentum", { ...optimizers.sgd, weightDecay: 0.01 }],
  ["AdamW", { ...optimizers.adamw, weightDecay: 0.1 }],
])("%s", (_, optimizer) => {
  const graph = buildModel("llama-small", {
    ...{ batch: 2, tokens: 12, layers: 1, width: 32, heads: 4, keyHeads: 2 },
    ...{ feedForward: 48, vocabulary: 20 },
  });
  const table = measure(machine, graph, { seconds: 0 });
  const plan = keepingPlan(executorProblem(graph, table, optimizer), (j) => j % 2 === 0);
  using executor = new TrainingExecutor(machine, { graph, table, plan, optimizer, seed: 1 });
  initialise(executor, 1);
  const references = executor.parameters.map(({ value }): Reference => {
    const w = Float64Array.from(executor.values(value));
    return { w, first: new Float64Array(w.length), second: new Float64Array(w.length) };
  });
  const rng = new Rng(3);
  const tokens = () => Int32Array.from({ length: 24 }, () => rng.int(0, 19));
  for (let step = 1; step <= 3; step++) {
    const batch = { tokens: tokens(), labels: tokens() };
    executor.load(streamOf(graph, batch));
    executor.gradients();
    executor.parameters.forEach(({ gradient }, i) => {
      advance(optimizer, step, references[i] as Reference, executor.values(gradient));
    });
    executor.train();
    executor.parameters.forEach(({ name, value }, i) => {
      const { w } = references[i] as Reference;
      const got = executor.values(value);
      const worst = got.reduce((most, x, k) => Math.max(most, Math.abs(x - (w[k] as number))), 0);
      expect(worst, `${name} after step ${step}`).toBeLessThan(2e-5);
      // Rounding is the executor's own: the next step starts from its parameters.
      w.set(got);
    });
  }
});
