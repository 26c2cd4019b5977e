import type { StepCostModel } from "@millrace/serving";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { SimulationConfig, SloTerm } from "../types.ts";
import { deploymentOf } from "./candidate.ts";
import type { CapacityJob, CapacityOutcome } from "./job.ts";
import { probeRate } from "./probe.ts";
import { createJobRunner } from "./run-job.ts";
import { paged, scheduler, smallPlan } from "./small-plan.conformance.ts";
import { expandSpace } from "./space.ts";
import { describeWorkload, makeWorkload, unitWorkload } from "./workload.ts";

/** Every step takes the same time, so that one sequence at a time with one token each is a queue with known delays. */
const constant = (seconds: number): StepCostModel => ({ stepSeconds: () => seconds });

const SERVICE = 0.1;
const single = { ...scheduler, batchSizeCap: 1 };

function queueJob(
  slo: readonly SloTerm[],
  arrivals: "poisson" | "static",
  requests: number,
): CapacityJob {
  const spec = {
    arrivals: { type: arrivals, qps: 1 },
    lengths: { type: "fixed", prompt: 100, output: 1 },
  } as const;
  const first = expandSpace(smallPlan).feasible[0]!;
  const deployment: SimulationConfig = {
    ...deploymentOf(smallPlan, first.config, { scheduler: single, kv: paged }),
    scheduler: single,
    slo,
  };
  return {
    kind: "capacity",
    deployment,
    geometry: first.geometry,
    workload: describeWorkload(spec, {})(requests, 3),
    timeScale: 1,
    tolerance: 0.02,
    startQps: null,
    peakQps: null,
  };
}

async function capacityOf(job: CapacityJob): Promise<CapacityOutcome> {
  const run = createJobRunner({ makeCost: () => constant(SERVICE) });
  const outcome = await run(job);
  if (outcome.kind !== "capacity") throw new Error("not a capacity");
  return outcome;
}

test("even arrivals: a replica carries what it can serve, less the margin of stability", async () => {
  const loose = [{ metric: "ttft", quantile: 0.9, limit: 1.5 * SERVICE }] as const;
  const found = await capacityOf(queueJob(loose, "static", 1000));
  expect(found.saturationQps).toBeCloseTo(1 / SERVICE, 6);
  expect(found.lowQps).toBeGreaterThan(0.98 * 0.97 * 10);
  expect(found.highQps).toBeLessThanOrEqual(0.98 * 10 + 1e-9);
  expect(found.limit).toBe("");
});

test("nothing is met when the service alone takes longer than the limit", async () => {
  const tight = [{ metric: "ttft", quantile: 0.5, limit: 0.9 * SERVICE }] as const;
  const found = await capacityOf(queueJob(tight, "poisson", 1000));
  expect(found.lowQps).toBe(0);
  expect(found.atLoad).toBeNull();
  expect(found.limit).toBe("TTFT p50");
  expect(found.atCapacity.margin).toBeGreaterThan(1);
});

/** Erlang's distribution of the waiting time of M/D/1 at t, service time 1. */
function waitsAtMost(t: number, load: number): number {
  let sum = 0;
  let factorial = 1;
  for (let k = 0; k <= Math.floor(t); k++) {
    if (k > 0) factorial *= k;
    const x = load * (k - t);
    sum += (x ** k / factorial) * Math.exp(-x);
  }
  return (1 - load) * sum;
}

test("Poisson arrivals: the capacity of M/D/1 for a p90 of TTFT, by Erlang's formula", async () => {
  const services = 4;
  const slo = [{ metric: "ttft", quantile: 0.9, limit: (services + 1) * SERVICE }] as const;
  let low = 0.1;
  let high = 0.999;
  while (high - low > 1e-6) {
    const middle = (low + high) / 2;
    if (waitsAtMost(services, middle) >= 0.9) low = middle;
    else high = middle;
  }
  const { lowQps, highQps, limit } = await capacityOf(queueJob(slo, "poisson", 40_000));
  const exact = low / SERVICE;
  expect(limit).toBe("TTFT p90");
  expect((lowQps + highQps) / 2 / exact).toBeGreaterThan(0.96);
  expect((lowQps + highQps) / 2 / exact).toBeLessThan(1.04);
});

test("a slower replica carries proportionally less", async () => {
  const loose = [{ metric: "ttft", quantile: 0.9, limit: 10 }] as const;
  const job = queueJob(loose, "static", 1000);
  const slow = await capacityOf({ ...job, timeScale: 1.25 });
  const normal = await capacityOf(job);
  expect(normal.lowQps / slow.lowQps).toBeCloseTo(1.25, 2);
});

const terms = fc.record({
  metric: fc.constantFrom<SloTerm["metric"]>("ttft", "tbt", "e2e", "schedulingDelay"),
  quantile: fc.constantFrom(0.5, 0.9, 0.99, 1),
  limit: fc.constantFrom(0.02, 0.05, 0.1, 0.5, 2, 8),
});

test("abandoning a run early never changes its verdict", () => {
  const { deployment, geometry } = expandSpace(smallPlan).feasible[0]!;
  const requests = makeWorkload(describeWorkload(smallPlan.workload, {})(300, 5));
  const unit = unitWorkload(requests);
  let abandoned = 0;
  fc.assert(
    fc.property(
      fc.array(terms, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(2, 8, 20, 60),
      fc.constantFrom(0.005, 0.02, 0.06),
      (slo, rate, base) => {
        const cost: StepCostModel = { stepSeconds: (plan) => base + plan.tokens * 2e-5 };
        const config = { ...deployment, slo };
        const table = unit.at(rate);
        const early = probeRate(config, table, rate, cost, geometry);
        const full = probeRate(config, table, rate, cost, geometry, { abort: false });
        if (early.aborted) abandoned++;
        expect(early.met).toBe(full.met);
        if (early.aborted)
          expect(full.slo.some((s) => s.term === early.worst && !s.met)).toBe(true);
      },
    ),
    { numRuns: 150 },
  );
  expect(abandoned).toBeGreaterThan(10);
});

test("the rate over a run is the one asked for, with the same lengths", () => {
  const unit = unitWorkload(makeWorkload(describeWorkload(smallPlan.workload, {})(500, 1)));
  const a = unit.at(3);
  const b = unit.at(12);
  expect(499 / a.arrivedAt[499]!).toBeCloseTo(3, 9);
  expect(b.promptTokens).toBe(a.promptTokens);
  expect(a.arrivedAt[100]! / b.arrivedAt[100]!).toBeCloseTo(4, 9);
});
