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
  const fit = fitBlackBox([streams], { model: "?", machine: "?", date: "2026-01-01" });
  expect(fit.steps).toBeGreaterThan(1000);
  expect(fit.heldOut).toBeLessThan(0.08);
  if (type === "sarathi-serve") expect(fit.chunkTokens).toBe(256);
  // The server does not drift: steps are known within a few percent.
  // But one run does not show how fast the machine is at another moment, nor what other lengths take.
  expect(fit.uncertainty).toBeGreaterThan(0.05);
  expect(fit.uncertainty).toBeLessThan(0.12);
  expect(fit.uncertaintyBeyond).toBeGreaterThanOrEqual(1);
  const { uncertainty, uncertaintyBeyond, seen } = fit.profile;
  expect([uncertainty, uncertaintyBeyond]).toEqual([fit.uncertainty, fit.uncertaintyBeyond]);
  expect(seen?.promptTokens[0]).toBeGreaterThanOrEqual(50);
  expect(seen?.promptTokens[1]).toBeLessThanOrEqual(800);
  const fitted = new ProfileCost(fit.profile);
  for (const { work, seconds, low, high } of fit.bands) {
    const real = truth(work.prefillTokens + work.decodeRows, work.decodeContext);
    expect(Math.abs(seconds / real - 1)).toBeLessThan(0.08);
    expect(seconds).toBe(fitted.computeSeconds(work));
    expect(low).toBeLessThanOrEqual(high);
  }
});

test("what is left out of several runs tells how far off another load may be", () => {
  const about = { model: "?", machine: "?", date: "2026-01-01" };
  const run = (qps: number, prompt: readonly [number, number], slow: number, seed: number) => {
    const lengths = {
      type: "range",
      prompt: { min: prompt[0], max: prompt[1] },
      output: { min: 20, max: 80 },
    } as const;
    const requests = generateWorkload(
      { arrivals: { type: "poisson", qps }, lengths, requests: 120 },
      seed,
    );
    const scaled: StepCostModel = {
      stepSeconds: (plan: StepPlan) => slow * truth(plan.tokens, plan.decodeContext),
    };
    const all = { cost: scaled, transport: null };
    return predictRun(settings("orca"), requests, all).clients.map(({ arrivedAt, tokenAt }, i) => ({
      startedAt: arrivedAt,
      promptTokens: requests.promptTokens[i] as number,
      tokenAt,
    }));
  };
  const steady = [1, 2, 3].map((i) => run(2 * i, [50, 400], 1, i));
  const drifting = [1, 2, 3].map((i) => run(2 * i, [50, 400], 1 + i / 5, i));
  const calm = fitBlackBox(steady, about);
  const restless = fitBlackBox(drifting, about);
  expect(calm.uncertainty).toBeLessThan(0.08);
  expect(restless.uncertainty).toBeGreaterThan(0.2);
  // Runs of other lengths say nothing of loads like those recorded, but of what lies beyond.
  const apart = fitBlackBox([...steady, run(1, [1000, 3000], 4, 9)], about);
  expect(apart.uncertaintyBeyond).toBeGreaterThan(1);
  expect(apart.profile.seen?.promptTokens[1]).toBeGreaterThan(2000);
});

test("too few steps are refused by number", () => {
  const streams = [{ startedAt: 0, promptTokens: 10, tokenAt: [0.1, 0.2, 0.3] }];
  const about = { model: "?", machine: "?", date: "2026-01-01" };
  expect(() => fitBlackBox([streams], about)).toThrow("but 200 are needed");
});
