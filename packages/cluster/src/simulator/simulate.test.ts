import { Rng } from "@millrace/core";
import { HighsSolver } from "@millrace/core/solver";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { randomProfile } from "../allocator/allocator.conformance.ts";
import { opt } from "../allocator/opt/opt.ts";
import { allocatorNames, allocators } from "../allocator/registry.ts";
import { planProblem } from "../plan-check.ts";
import { policyNames } from "../policy/policy.ts";
import { publishedMix } from "../profile/published-mix.ts";
import { shareTerms } from "../profile/share.ts";
import { rateAt, type SpeedProfile } from "../profile/speed-profile.ts";
import { generateTrace, gpuCounts, synergyMix } from "../trace/generate.ts";
import type { TraceJob } from "../trace/job-trace.ts";
import { plainExperiment, runExperiment } from "./experiment.ts";
import { idealTerms, type JobTerms, jobSpecs, type Model, uniformServers } from "./from-trace.ts";
import { type SimulationSpec, simulate, simulateLater } from "./simulate.ts";

const curve = (name: string, rate: readonly number[]): SpeedProfile => ({
  name,
  cpus: [1, 3, 6, 12],
  hostBytes: [20e9],
  rate: rate.map((r) => [r]),
});
const models = new Map<string, Model>([
  ["flat", { profile: curve("flat", [1, 1, 1, 1]), iterationSeconds: 1 }],
  ["hungry", { profile: curve("hungry", [0.4, 1, 2, 4]), iterationSeconds: 1 }],
]);

function specOf(
  trace: readonly TraceJob[],
  over: Partial<SimulationSpec> = {},
  terms: Partial<JobTerms> = {},
  count = 1,
): SimulationSpec {
  const servers = uniformServers(count, 8, 24, 500e9);
  const { jobs } = jobSpecs(trace, models, servers, { ...idealTerms, ...terms });
  return {
    jobs,
    servers,
    tenants: [],
    policy: "fifo",
    roundSeconds: 300,
    decisions: "rounds",
    starvationSeconds: 1e9,
    serverEvents: [],
    ...over,
  };
}

const job = (
  id: number,
  model: string,
  arrivalSeconds: number,
  iterations: number,
  gpus = 1,
): TraceJob => ({
  id,
  model,
  arrivalSeconds,
  iterations,
  gpus,
});

describe("the simulator, worked by hand", () => {
  test("jobs start at rounds and end when they end", () => {
    const { finish } = simulate(specOf([job(0, "flat", 10, 500)]), allocators.tune("none"));
    expect([...finish]).toEqual([800]);
  });

  test("with events they start when they arrive", () => {
    const spec = specOf([job(0, "flat", 10, 500, 8), job(1, "flat", 20, 100, 8)], {
      decisions: "events",
    });
    expect([...simulate(spec, allocators.tune("none")).finish]).toEqual([510, 610]);
  });

  test("speed follows the grant: 12 CPUs alone, 3 at the share", () => {
    const alone = specOf([job(0, "hungry", 0, 1000)]);
    expect([...simulate(alone, allocators.tune("none")).finish]).toEqual([250]);
    expect([...simulate(alone, allocators.proportional("none")).finish]).toEqual([1000]);
  });

  test("a preempted job pays for its restart and for its cold cache, a job that stays pays nothing", () => {
    // The short job takes all GPUs for one round; the long one comes back at 600 and sits out 30 + 20 seconds.
    const trace = [job(0, "flat", 0, 1000), job(1, "flat", 300, 100, 8)];
    const spec = specOf(trace, { policy: "srtf" }, { restartSeconds: 30, refillSeconds: 20 });
    const { finish, preemptions, restarts } = simulate(spec, allocators.waterfill());
    // Start-up of a cold cache (20 s), 280 s of work, a round off, 50 s, 720 s of work.
    expect([...finish]).toEqual([1370, 420]);
    expect([...preemptions]).toEqual([1, 0]);
    expect([...restarts]).toEqual([0, 0]);
  });

  test("wrong profiles make gains smaller than believed", () => {
    const spec = specOf([job(0, "hungry", 0, 1000)], {}, { gainFactor: () => 0.5 });
    expect([...simulate(spec, allocators.tune("none")).finish]).toEqual([400]);
  });

  test("a lost server gives its jobs back to the queue; they go on elsewhere", () => {
    const spec = specOf(
      [job(0, "flat", 0, 1000)],
      { serverEvents: [{ at: 450, server: 0, condition: "down" }] },
      { restartSeconds: 30 },
      2,
    );
    const { finish, restarts } = simulate(spec, allocators.waterfill());
    expect([...restarts]).toEqual([1]);
    // The loss shows at the next round.
    expect([...finish]).toEqual([1030]);
  });

  test("a job that waits too long gets its turn", () => {
    const short = Array.from({ length: 40 }, (_, i) => job(i + 1, "flat", i * 300, 290, 8));
    const trace = [job(0, "flat", 0, 600, 8), ...short];
    const patient = simulate(specOf(trace, { policy: "srtf" }), allocators.tune("none"));
    const guarded = simulate(
      specOf(trace, { policy: "srtf", starvationSeconds: 1500 }),
      allocators.tune("none"),
    );
    expect(patient.finish[0]).toBeGreaterThan(12_000);
    expect(guarded.finish[0]).toBeLessThan(2700);
  });

  test("a tenant's quota is kept for it, and used by others while it is away", () => {
    const own = { tenant: "late" };
    const trace = [
      ...Array.from({ length: 12 }, (_, i) => job(i, "flat", 0, 900)),
      ...Array.from({ length: 4 }, (_, i) => ({ ...job(20 + i, "flat", 290, 100), ...own })),
    ];
    const tenants = [{ name: "late", weight: 1, quotaGpus: 4, limitGpus: null }];
    const { finish } = simulate(specOf(trace, { tenants }), allocators.waterfill());
    // Eight of the others run alone for a round; then the four that came later have their quota at once.
    expect([...finish.subarray(12)]).toEqual([400, 400, 400, 400]);
    const without = simulate(specOf(trace), allocators.waterfill());
    expect(Math.min(...without.finish.subarray(12))).toBeGreaterThan(900);
  });

  test("a data set that two jobs of a server read is charged once and warm for the second", () => {
    const servers = uniformServers(1, 8, 24, 160e9);
    const cached: Model = {
      profile: {
        name: "cached",
        cpus: [3],
        hostBytes: [20e9, 100e9],
        rate: [[1, 2]],
      },
      iterationSeconds: 1,
    };
    const at = (dataset: string | null) => {
      const trace = [0, 300].map((arrival, id) => ({
        ...job(id, "cached", arrival, 1200),
        ...(dataset !== null && { dataset }),
      }));
      const terms = { ...idealTerms, refillSeconds: 40 };
      const { jobs } = jobSpecs(trace, new Map([["cached", cached]]), servers, terms);
      return [...simulate({ ...specOf([]), jobs, servers }, allocators.waterfill()).finish];
    };
    // Both hold 100 GB of the same 160: the second finds all of it warm and sits out nothing.
    expect(at("images")).toEqual([640, 900]);
    // With data sets of their own there is room for one of them; the other runs at its share until that is gone.
    const [first = 0, second = 0] = at(null);
    expect(first).toBe(640);
    expect(second).toBeGreaterThan(1200);
  });

  test("a job starts where others keep its data set warm, if that is worth more than an empty server", () => {
    const cached: Model = {
      profile: { name: "cached", cpus: [3], hostBytes: [20e9], rate: [[1]] },
      iterationSeconds: 1,
    };
    const trace = [
      { ...job(0, "cached", 0, 3000, 6), dataset: "speech" },
      { ...job(1, "cached", 0, 3000, 4), dataset: "images" },
      { ...job(2, "cached", 900, 600), dataset: "images" },
    ];
    const servers = uniformServers(2, 8, 24, 500e9);
    const run = (refillSeconds: number) => {
      const terms = { ...idealTerms, refillSeconds };
      const { jobs } = jobSpecs(trace, new Map([["cached", cached]]), servers, terms);
      const spec = { ...specOf([]), jobs, servers };
      const { finish, timeline } = simulate(spec, allocators.waterfill(), { timeline: true });
      const serverOf = (id: number) => timeline.segments.find((one) => one.job === id)?.server;
      return { end: finish[2], together: serverOf(2) === serverOf(1) };
    };
    expect(run(100)).toEqual({ end: 1500, together: true });
    // Where refilling costs nothing it fills the fuller server.
    expect(run(0).together).toBe(false);
  });

  test("on two NUMA nodes jobs get GPUs and cores of one; what needs both nodes is counted", () => {
    const trace = [job(0, "flat", 0, 900), job(1, "flat", 0, 900, 4), job(2, "flat", 0, 300, 3)];
    const run = (jobs: readonly TraceJob[], cpus: number) => {
      const servers = uniformServers(1, 8, cpus, 500e9, 2);
      const { jobs: specs } = jobSpecs(jobs, models, servers, idealTerms);
      return simulate({ ...specOf([]), jobs: specs, servers }, allocators.proportional("none"), {
        timeline: true,
      }).timeline;
    };
    const apart = run(trace, 24);
    expect(apart.segments.find((one) => one.job === 1)?.gpus).toEqual([4, 5, 6, 7]);
    expect(apart.numaLocalSeconds).toBe(apart.gpuSeconds);
    const across = run([job(0, "flat", 0, 300, 6)], 24);
    expect(across.numaLocalSeconds).toBe(0);
  });

  test("jobs that can never run end the run instead of hanging it", () => {
    const spec = specOf([job(0, "flat", 0, 10)], {
      serverEvents: [{ at: 0, server: 0, condition: "down" }],
    });
    expect(simulate(spec, allocators.tune("none")).finish[0]).toBeNaN();
  });
});

describe("generated traces", () => {
  const trace = generateTrace({
    jobs: 150,
    seed: 7,
    arrivals: { kind: "poisson", jobsPerHour: 9 },
    classes: [
      { name: "flat", models: ["flat"], part: 60 },
      { name: "hungry", models: ["hungry"], part: 40 },
    ],
    gpus: gpuCounts.multi,
    iterationSeconds: () => 1,
  });

  test("same seed, same bytes; mixes are kept to the job", () => {
    expect(trace.filter((j) => j.model === "hungry")).toHaveLength(60);
    const spec = {
      jobs: 200,
      seed: 1,
      arrivals: { kind: "philly", jobsPerHour: 5 },
      classes: synergyMix(20, 70, 10),
      gpus: gpuCounts.philly,
      iterationSeconds: () => 0.5,
    } as const;
    expect(generateTrace(spec)).toEqual(generateTrace(spec));
    const hours = (generateTrace({ ...spec, jobs: 4000 }).at(-1)?.arrivalSeconds ?? 0) / 3600;
    expect(4000 / hours).toBeGreaterThan(4);
    expect(4000 / hours).toBeLessThan(6);
  });

  test.each(Object.keys(allocators) as (keyof typeof allocators)[])(
    "%s: every job ends, every plan holds, two runs are equal",
    async (name) => {
      const allocate = allocators[name]("consolidate");
      const spec = specOf(trace, { policy: "srtf" }, { restartSeconds: 30, spanFactor: 0.9 }, 2);
      const checked = simulate(spec, (state, order) => {
        const plan = allocate(state, order);
        if (plan.executable) expect(planProblem(state, plan)).toBeNull();
        return plan;
      });
      expect(checked.finish.every((at) => at > 0)).toBe(true);
      const again = await simulateLater(spec, allocate);
      expect([...again.finish]).toEqual([...checked.finish]);
    },
  );
});

describe("the guarantee", () => {
  const solver = new HighsSolver();
  afterAll(() => solver[Symbol.asyncDispose]());
  const terms = fc.record({
    seed: fc.nat(1e6),
    restartSeconds: fc.constantFrom(0, 45),
    refillSeconds: fc.constantFrom(0, 120),
    resize: fc.constantFrom("live" as const, "restart" as const),
    decisions: fc.constantFrom("rounds" as const, "events" as const),
    preemptible: fc.boolean(),
    spanFactor: fc.constantFrom(0.8, 1),
    tenants: fc.boolean(),
    datasets: fc.boolean(),
  });
  const pairs = allocatorNames.flatMap((name) =>
    policyNames.map((policy) => [name, policy] as const),
  );

  test.each(pairs)(
    "%s under %s: with warm caches and true profiles no job ever runs below its proportional speed",
    async (name, policy) => {
      const allocate = name === "opt" ? opt(solver) : allocators[name]("consolidate");
      await fc.assert(
        fc.asyncProperty(terms, async ({ seed, decisions, tenants, datasets, ...drawn }) => {
          const rng = new Rng(seed);
          const names = ["a", "b", "c", "d"];
          const curves = new Map(names.map((model) => [model, randomProfile(rng, model)]));
          const trace = generateTrace({
            jobs: 60,
            seed,
            arrivals: { kind: "poisson", jobsPerHour: 12 },
            classes: [{ name: "all", models: names, part: 1 }],
            gpus: gpuCounts.multi,
            iterationSeconds: () => 1,
          });
          const servers = uniformServers(2, 8, 24, 500e9);
          const share = shareTerms(servers);
          const models = new Map(
            [...curves].map(([model, profile]) => [model, { profile, iterationSeconds: 1 }]),
          );
          const { jobs } = jobSpecs(trace, models, servers, { ...idealTerms, ...drawn });
          const spec: SimulationSpec = {
            ...specOf([]),
            jobs: jobs.map((one, i) => ({
              ...one,
              ...(tenants && { tenant: i % 3 === 0 ? "small" : "large" }),
              ...(datasets && { dataset: one.model }),
            })),
            servers,
            policy,
            decisions,
            starvationSeconds: 20_000,
            tenants: tenants ? [{ name: "small", weight: 2, quotaGpus: 4, limitGpus: 12 }] : [],
            serverEvents: [
              { at: 30_000, server: 0, condition: "down" },
              { at: 40_000, server: 0, condition: "up" },
            ],
          };
          const modelOf = new Map(jobs.map((one) => [one.id, one.model]));
          let given = 0;
          await simulateLater(
            spec,
            async (state, order) => {
              const plan = await allocate(state, order);
              for (const { job: id, slices, speed } of plan.assignments) {
                given++;
                // What pooled gives is on no servers.
                if (!plan.executable) {
                  expect(speed).toBeGreaterThanOrEqual(1 - 1e-9);
                  continue;
                }
                // By the curve itself and what the job is given, not by what the plan says of it.
                const profile = curves.get(modelOf.get(id) ?? "") as SpeedProfile;
                const gpus = slices.reduce((sum, slice) => sum + slice.gpus.length, 0);
                const cpus = slices.reduce((sum, slice) => sum + slice.cpus, 0);
                const bytes = slices.reduce((sum, slice) => sum + slice.hostBytes, 0);
                const least = rateAt(profile, share.cpusPerGpu, share.hostBytesPerGpu);
                const rate = rateAt(profile, cpus / gpus, bytes / gpus);
                expect(rate, `job ${id}`).toBeGreaterThanOrEqual(least * (1 - 1e-9));
              }
              return plan;
            },
            { stop: (_, now) => now > 60_000 },
          );
          expect(given).toBeGreaterThan(60);
        }),
        { numRuns: 2 },
      );
    },
  );
});

describe("jobs over several servers", () => {
  const trace = generateTrace({
    jobs: 120,
    seed: 3,
    arrivals: { kind: "poisson", jobsPerHour: 5 },
    classes: [{ name: "all", models: ["flat", "hungry"], part: 1 }],
    gpus: gpuCounts.multi,
    iterationSeconds: () => 1,
  });

  test.each(["tune", "waterfill"] as const)(
    "%s keeps those that lose speed by it on one, and lets the others be",
    (name) => {
      const spanned = (spanFactor: number): number => {
        const spec = specOf(trace, {}, { restartSeconds: 30, spanFactor }, 4);
        let seconds = 0;
        simulate(spec, (state, order) => {
          const plan = allocators[name]("consolidate")(state, order);
          expect(planProblem(state, plan)).toBeNull();
          seconds += plan.assignments.filter(({ slices }) => slices.length > 1).length;
          return plan;
        });
        return seconds;
      };
      expect(spanned(0.8)).toBeLessThan(0.3 * spanned(1));
    },
  );
});

describe("profiles that are wrong", () => {
  test("are refined while jobs run, and jobs end sooner for it", async () => {
    const trace = generateTrace({
      jobs: 200,
      seed: 12,
      arrivals: { kind: "poisson", jobsPerHour: 7 },
      classes: synergyMix(50, 0, 50),
      gpus: gpuCounts.single,
      iterationSeconds: (model) => publishedMix().get(model)?.iterationSeconds ?? 1,
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
