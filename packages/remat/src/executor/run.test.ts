import { MillraceError } from "@millrace/core";
import { expect, test } from "vitest";
import { GraphBuilder, square } from "../models/builder.ts";
import { buildModel } from "../models/index.ts";
import { optimizers } from "./optimizer.ts";
import { type Budget, prepareRun } from "./run.ts";

const graph = buildModel("gpt-small", { batch: 1, tokens: 4, layers: 1, width: 32 });
const options = {
  threads: 1,
  optimizer: optimizers.sgd,
  effort: "low",
  seed: 1,
  measureSeconds: 0,
} as const;
const prepared = (budget: Budget) => prepareRun({ ...options, graph, budget });

test("the default budget fits where gradients of parameters outweigh activations", async () => {
  const refused = await prepared({ activationShare: 0.5 }).catch((error: unknown) => error);
  if (!(refused instanceof MillraceError)) throw new Error("half of the activations was enough");
  expect(refused.code).toBe("NOTHING_FITS");
  const smallest = Number(/smallest .* is (\d+) bytes/.exec(refused.hint ?? "")?.[1]);
  const { budgetBytes, predicted, keepAll, problem } = await prepared("default");
  expect(budgetBytes).toBeGreaterThanOrEqual(smallest - 1);
  expect(budgetBytes).toBeGreaterThan(problem.fixed + 0.5 * (keepAll.peakBytes - problem.fixed));
  expect(predicted.peakBytes).toBeLessThanOrEqual(budgetBytes);
  // What the refusal calls the smallest budget is one.
  expect((await prepared({ bytes: smallest })).predicted.peakBytes).toBeLessThanOrEqual(smallest);
});

test("a step that this machine cannot hold is refused before anything is allocated", async () => {
  const huge = buildModel("resnet-small", { batch: 1e7 });
  await expect(prepareRun({ ...options, graph: huge, budget: "default" })).rejects.toThrow(
    /resnet-small at batch 10000000 needs \d.* TB, and this machine has/,
  );
});

test("operators that cannot be executed are named, all of them", async () => {
  const b = new GraphBuilder();
  const image = b.input("image", [2, 4, 8, 8]);
  const labels = b.input("labels", [2], "i32");
  const x = b.conv("c", image, 4, square(3, 1, 1));
  const gate = b.add("gate", { kind: "activation", function: "silu" }, [x], x.dims);
  const gated = b.add("gated", { kind: "multiply" }, [x, gate], x.dims);
  b.crossEntropy("loss", b.linear("fc", gated, 10), labels);
  const told = prepareRun({ ...options, graph: b.build("odd", 2), budget: "default" });
  await expect(told).rejects.toThrow(
    /operators of odd cannot be executed here: gate \(activation\), gated \(multiply\)/,
  );
});
