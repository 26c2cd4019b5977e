import { describe, expect, test } from "vitest";
import { publishedMix } from "../profile/published-mix.ts";
import { generateTrace, gpuCounts, synergyMix, type TraceSpec } from "../trace/generate.ts";
import { plainExperiment, runExperiment } from "./experiment.ts";

/** Jobs of one GPU each, half of them image jobs, which live by their CPUs. */
const traceOf = (over: Pick<TraceSpec, "jobs" | "seed" | "arrivals" | "lengths">) =>
  generateTrace({
    classes: synergyMix(50, 0, 50),
    gpus: gpuCounts.single,
    iterationSeconds: (model) => publishedMix().get(model)?.iterationSeconds ?? 1,
    ...over,
  });

describe("the bound of opt", () => {
  test("a run says how near its plans came to it; other allocators prove none", async () => {
    const trace = traceOf({
      jobs: 60,
      seed: 3,
      arrivals: { kind: "poisson", jobsPerHour: 12 },
      lengths: "short",
    });
    const cluster = { servers: 2, gpus: 8, cpus: 24, hostBytes: 500e9 };
    const run = async (allocator: "opt" | "tune") =>
      (await runExperiment(trace, publishedMix(), { ...plainExperiment, cluster, allocator }))
        .summary.ofBound;
    const { mean, lowest } = (await run("opt")) ?? { mean: 0, lowest: 0 };
    expect(lowest).toBeGreaterThan(0.8);
    expect(mean).toBeGreaterThan(0.95);
    expect(mean).toBeLessThanOrEqual(1 + 1e-9);
    expect(await run("tune")).toBeNull();
  });
});

describe("profiles that are wrong", () => {
  test("are refined while jobs run, and jobs end sooner for it", async () => {
    const trace = traceOf({
      jobs: 200,
      seed: 12,
      arrivals: { kind: "poisson", jobsPerHour: 7 },
    });
    const mean = async (refine: boolean, profileError: number): Promise<number> => {
      const cluster = { servers: 10, gpus: 8, cpus: 24, hostBytes: 500e9 };
      const experiment = { ...plainExperiment, cluster, profileError, refine };
      return (await runExperiment(trace, publishedMix(), experiment)).summary.jct.mean;
    };
    const [blind, learned, known] = [
      await mean(false, 1),
      await mean(true, 1),
      await mean(true, 0),
    ];
    expect(learned).toBeLessThan(blind);
    // Where profiles are right there is nothing to learn.
    expect(known).toBeCloseTo(await mean(false, 0), 1);
  });
});
