/** A server of known cost is recovered from nothing but its tokens: the truth is the twin's own cost model. */
import { Rng } from "@millrace/core";
import {
  fitBlackBox,
  generateWorkload,
  ProfileCost,
  type StepCostModel,
  type StepPlan,
} from "@millrace/serving";
import { expect, test } from "vitest";
import { predictRun, type TwinSettings } from "./index.ts";

const truth = (tokens: number, context: number): number => 8e-3 + 6e-5 * tokens + 2e-7 * context;
const cost: StepCostModel = {
  stepSeconds: (plan: StepPlan) => truth(plan.tokens, plan.decodeContext),
};

function settings(type: "sarathi-serve" | "orca"): TwinSettings {
  const slots = { slots: 32, slotTokens: 4096 };
  return {
    scheduler: {
      type,
      chunkSize: 256,
      batchSizeCap: 32,
      maxTokensInBatch: 8192,
      tile: 1,
      chunking: "static",
      dynamic: { low: 64, high: 512, stages: 4, maxTokens: 8192 },
      targetTbt: 0.1,
      maxWaitingIters: 10,
    },
    kv: { type: "static", options: slots },
    tableCapacity: 400,
    maxRequestTokens: 4095,
    maxWaiting: 400,
  };
}

test.each(["sarathi-serve", "orca"] as const)("%s: step times within 8 % of the truth", (type) => {
  const requests = generateWorkload(
    {
      arrivals: { type: "poisson", qps: 6 },
      lengths: {
        type: "range",
        prompt: { min: 50, max: 800 },
        output: { min: 20, max: 150 },
      },
      requests: 250,
    },
    7,
  );
  const { clients } = predictRun(settings(type), requests, { cost, transport: null });
  const rng = new Rng(3);
  const jitter = (): number => 4e-4 * rng.next();
  const streams = clients.map(({ arrivedAt, tokenAt }, i) => ({
    startedAt: arrivedAt,
    promptTokens: requests.promptTokens[i] as number,
    tokenAt: tokenAt.map((at) => at + jitter()),
  }));
  const fit = fitBlackBox(streams, { model: "?", machine: "?", date: "2026-01-01" });
  expect(fit.steps).toBeGreaterThan(1000);
  expect(fit.heldOut).toBeLessThan(0.08);
  if (type === "sarathi-serve") expect(fit.chunkTokens).toBe(256);
  // The server does not drift: steps are known within a few percent, and the profile says so.
  expect(fit.uncertainty).toBeLessThan(0.08);
  expect(fit.uncertainty).toBeGreaterThanOrEqual(fit.heldOut);
  expect(fit.profile.uncertainty).toBe(fit.uncertainty);
  const fitted = new ProfileCost(fit.profile);
  for (const { work, seconds, low, high } of fit.bands) {
    const real = truth(work.prefillTokens + work.decodeRows, work.decodeContext);
    expect(Math.abs(seconds / real - 1)).toBeLessThan(0.08);
    expect(seconds).toBe(fitted.computeSeconds(work));
    expect(low).toBeLessThanOrEqual(high);
  }
});

test("too few steps are refused by number", () => {
  const streams = [{ startedAt: 0, promptTokens: 10, tokenAt: [0.1, 0.2, 0.3] }];
  const about = { model: "?", machine: "?", date: "2026-01-01" };
  expect(() => fitBlackBox(streams, about)).toThrow("but 200 are needed");
});
