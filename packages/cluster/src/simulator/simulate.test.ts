import { describe, expect, test } from "vitest";
import { allocators } from "../allocator/registry.ts";
import { planProblem } from "../plan-check.ts";
import { generateTrace, gpuCounts, synergyMix } from "../trace/generate.ts";
import type { TraceJob } from "../trace/job-trace.ts";
import { idealTerms, jobSpecs, type Model, uniformServers } from "./from-trace.ts";
import { simulate, simulateLater } from "./simulate.ts";
import { job, models, specOf } from "./specs.conformance.ts";

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

  test("a cold epoch costs what the granted cache brings: the time its bytes take from storage, at most refillSeconds", () => {
    const model: Model = {
      profile: { name: "cached", cpus: [3], hostBytes: [20e9, 100e9], rate: [[1, 2]] },
      iterationSeconds: 1,
      refillSeconds: 90,
      refillBytesPerSecond: 1e9,
    };
    const servers = uniformServers(1, 8, 24, 160e9);
    const trace = [job(0, "cached", 0, 1000)];
    const { jobs } = jobSpecs(trace, new Map([["cached", model]]), servers, idealTerms);
    const spec = { ...specOf([]), jobs, servers };
    // 20 GB are there after 20 s. 100 GB would take 100, but an epoch without them is only 90 s longer.
    expect(simulate(spec, allocators.proportional("none")).finish[0]).toBe(1020);
    expect(simulate(spec, allocators.waterfill()).finish[0]).toBe(590);
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
