import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InlineExecutor, type MillraceError } from "@millrace/core";
import { ForkPool } from "@millrace/core/node";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { findDevice } from "../catalogue/devices.ts";
import type { PlanResult } from "../types.ts";
import { candidateName } from "./candidate.ts";
import { searchWorker } from "./index.ts";
import type { SearchJob, SearchOutcome } from "./job.ts";
import { plan } from "./plan.ts";
import type { PlanProgress } from "./progress.ts";
import { inline, paged, scheduler, smallPlan } from "./small-plan.conformance.ts";
import type { PlanSpec } from "./spec.ts";
import { run } from "./worker.ts";

/** The plan that several tests are about, and what it told while it was made. */
let whole: PlanResult;
const seen: PlanProgress[] = [];
beforeAll(async () => {
  whole = await plan(smallPlan, { executor: inline(), onProgress: (p) => seen.push(p) });
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-plan-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const bytes = ({ elapsedMs: _, ...rest }: PlanResult): string => JSON.stringify(rest);

test("a plan is complete, ordered and consistent", () => {
  const result = whole;
  const { best, candidates } = result;
  expect(result.judged).toBe(8);
  expect(candidates.length + result.rejected.length).toBe(8);
  expect(candidates.filter((c) => c.stage === "confirmed").length).toBeGreaterThanOrEqual(2);
  expect(best).toEqual(candidates.find((c) => c.stage === "confirmed"));
  for (const c of candidates) {
    const { low, value, high } = c.capacityQps;
    expect(low).toBeGreaterThan(0);
    expect(value).toBeGreaterThanOrEqual(low);
    expect(high).toBeGreaterThanOrEqual(value);
    expect(c.replicasNeeded).toBe(Math.ceil(60 / low) + 1);
    expect(c.gpus).toBe(c.replicasNeeded);
    const price = smallPlan.devices.find((d) => d.name === c.config.device)!.dollarsPerHour;
    expect(c.dollarsPerHour).toBeCloseTo(c.gpus * price, 9);
    expect(c.slo.map((s) => s.term)).toEqual(["TTFT p90", "TBT p99"]);
    expect(c.slo.every((s) => s.met)).toBe(true);
    expect(c.bottleneck).not.toBe("");
  }
  for (let i = 1; i < candidates.length; i++)
    expect(candidates[i]!.dollarsPerHour).toBeGreaterThanOrEqual(candidates[i - 1]!.dollarsPerHour);
  expect(result.pareto.length).toBeGreaterThan(0);
  expect(result.sensitivity.map((s) => s.change)).toContain("load x2");
  expect(result.launch[0]?.command).toMatch(/^vllm serve /);
  const { batchSizeCap } = result.best?.config ?? {};
  expect(result.launch.at(-1)?.command).toMatch(/^millrace serve --model \S+ --scheduler /);
  expect(result.launch.at(-1)?.command).toContain(`--batch-size-cap ${batchSizeCap}`);
  expect(result.notModelled.length).toBeGreaterThan(3);
  expect(new Set(seen.map((p) => p.phase))).toEqual(
    new Set(["screening", "confirming", "varying"]),
  );
  expect(seen.every((p) => p.done <= p.total)).toBe(true);
  // Simulations are counted as jobs end, not when a phase does.
  expect(seen.find((p) => p.done > 0)?.simulations).toBeGreaterThan(0);
  for (let i = 1; i < seen.length; i++)
    expect(seen[i]!.simulations).toBeGreaterThanOrEqual(seen[i - 1]!.simulations);
  expect(seen.at(-1)?.simulations).toBe(result.simulations);
});

test("the same question has the same answer, to the byte, in one thread and in two processes", async () => {
  await using pool = new ForkPool<SearchJob, SearchOutcome>({ module: searchWorker, workers: 2 });
  const twice = await plan(smallPlan, { executor: pool });
  expect(bytes(twice)).toBe(bytes(whole));
});

test("an interrupted plan goes on with the runs that were finished", async () => {
  const stop = new AbortController();
  let jobs = 0;
  const stopping = new InlineExecutor<SearchJob, SearchOutcome>((job) => {
    if (++jobs === 6) stop.abort();
    return run(job);
  });
  await expect(
    plan(smallPlan, { executor: stopping, cacheDir: folder, signal: stop.signal }),
  ).rejects.toMatchObject({ code: "INTERRUPTED" } satisfies Partial<MillraceError>);
  const kept = readdirSync(folder);
  expect(kept).toHaveLength(5);
  writeFileSync(join(folder, kept[0]!), '{"kind":"capac');
  writeFileSync(join(folder, kept[1]!), "[]");

  const redone = new Set<string>();
  const counting: typeof stopping = new InlineExecutor((job) => {
    redone.add(JSON.stringify(job));
    return run(job);
  });
  const resumed = await plan(smallPlan, { executor: counting, cacheDir: folder });
  expect(bytes(resumed)).toBe(bytes(whole));
  const all = readdirSync(folder).filter((name) => name.endsWith(".json"));
  expect(redone.size).toBe(all.length - 3);

  const idle = new InlineExecutor<SearchJob, SearchOutcome>(() => {
    throw new Error("nothing is left to do");
  });
  expect(bytes(await plan(smallPlan, { executor: idle, cacheDir: folder }))).toBe(bytes(whole));
});

test("a model that fits nowhere: no best, the nearest miss names the memory", async () => {
  const spec: PlanSpec = {
    ...smallPlan,
    devices: [findDevice("l4")],
    space: {
      ...smallPlan.space,
      devices: [findDevice("l4").name],
      precision: [{ weightBytes: 4, kvBytes: 2 }],
    },
  };
  const result = await plan(spec, { executor: inline() });
  expect(result).toMatchObject({ best: null, judged: 0, candidates: [], launch: [], pareto: [] });
  expect(result.nearestMiss?.reason).toMatch(/weights take/);
});

test("an SLO that nothing meets: the nearest miss is the one that misses least", async () => {
  const spec: PlanSpec = { ...smallPlan, slo: [{ metric: "tbt", quantile: 0.5, limit: 0.001 }] };
  const result = await plan(spec, { executor: inline() });
  expect(result).toMatchObject({ best: null, candidates: [], judged: 8 });
  expect(result.nearestMiss?.config.device).toBe("h100");
  expect(result.nearestMiss?.reason).toMatch(/^TBT p50 is .* the limit 1 ms, even at/);
});

test("a fixed fleet: the load it carries, not what it costs, decides", async () => {
  const spec: PlanSpec = {
    ...smallPlan,
    load: null,
    fleet: { device: "h100", gpus: 4 },
    space: { ...smallPlan.space, tensorParallel: [1, 4] },
  };
  const result = await plan(spec, { executor: inline() });
  const carried = result.candidates.map((c) => c.capacityQps.low * c.replicasNeeded);
  for (let i = 1; i < carried.length; i++) expect(carried[i]).toBeLessThanOrEqual(carried[i - 1]!);
  expect(result.candidates.every((c) => c.gpus === 4)).toBe(true);
  expect(result.load.qps).toBeCloseTo(
    result.best!.capacityQps.low * result.best!.replicasNeeded,
    9,
  );
});

test("what runs today is judged with its own knobs and replicas", async () => {
  const config = { ...whole.candidates[0]!.config };
  const current = {
    config: { ...config, batchSizeCap: 32 },
    scheduler: { ...scheduler, batchSizeCap: 32 },
    kv: paged,
    replicas: 20,
  };
  const space = { ...smallPlan.space, devices: [config.device] };
  const result = await plan({ ...smallPlan, current, space }, { executor: inline() });
  expect(result.current).toMatchObject({ replicasNeeded: 20, stage: "confirmed" });
  expect(candidateName(result.current!.config)).toContain("batch 32");
});
