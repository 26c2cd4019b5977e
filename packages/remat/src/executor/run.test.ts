import { MillraceError } from "@millrace/core";
import { expect, test } from "vitest";
import { buildModel } from "../models/index.ts";
import { optimizers } from "./optimizer.ts";
import { type Budget, prepareRun } from "./run.ts";

const graph = buildModel("gpt-small", { batch: 1, tokens: 4, layers: 1, width: 32 });
const prepared = (budget: Budget) =>
  prepareRun({
    graph,
    threads: 1,
    optimizer: optimizers.sgd,
    budget,
    effort: "low",
    seed: 1,
    measureSeconds: 0,
  });

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
  const huge = buildModel("resnet-small", { batch: 1e8 });
  await expect(
    prepareRun({
      graph: huge,
      threads: 1,
      optimizer: optimizers.sgd,
      budget: "default",
      effort: "low",
      seed: 1,
      measureSeconds: 0,
    }),
  ).rejects.toThrow(/resnet-small at batch 100000000 needs \d.* TB, and this machine has/);
});
