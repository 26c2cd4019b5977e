import { HighsSolver } from "@millrace/core/solver";
import { afterAll, describe, expect, test } from "vitest";
import type { Plan } from "../../contracts.ts";
import { decideLater } from "../../decide.ts";
import { allocatorConformance, randomCluster } from "../allocator.conformance.ts";
import { pooled } from "../pooled.ts";
import { opt } from "./opt.ts";

const solver = new HighsSolver();
afterAll(() => solver[Symbol.asyncDispose]());

allocatorConformance("opt", { allocate: opt(solver), runs: 6 });

const summedSpeed = (plan: Plan): number => plan.assignments.reduce((sum, a) => sum + a.speed, 0);

describe("the bound of opt", () => {
  // The relaxation does not know that a job of several GPUs is bound to one server's CPUs, so it is looser for them.
  test.each([
    ["one GPU", [1], 0.93],
    ["any number of GPUs", [1, 2, 4, 8], 0.7],
  ] as const)("no plan exceeds it, and opt's own comes close: %s", async (_, gpus, close) => {
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const { state, arrive } = randomCluster(seed, 4);
      for (let i = 0; i < 90; i++) arrive();
      state.jobs = state.jobs.filter((job) => (gpus as readonly number[]).includes(job.gpus));
      const { plan } = await decideLater(state, "fifo", opt(solver));
      const { plan: reference } = await decideLater(state, "fifo", pooled);
      const bound = plan.bound ?? Number.NaN;
      expect(summedSpeed(plan)).toBeLessThanOrEqual(bound + 1e-6);
      expect(summedSpeed(reference)).toBeLessThanOrEqual(bound + 1e-6);
      expect(summedSpeed(plan)).toBeGreaterThan(close * bound);
    }
  });
});
