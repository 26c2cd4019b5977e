import { Rng } from "@millrace/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Observation } from "../profile/refine.ts";
import type { SpeedProfile } from "../profile/speed-profile.ts";
import { Beliefs } from "./beliefs.ts";
import { Books } from "./books.ts";
import { jobsFileSchema } from "./jobs-file.ts";
import { Learning } from "./learning.ts";
import { type JobRecord, RunState } from "./run-state.ts";

const share = {
  cpusPerGpu: 3,
  hostBytesPerGpu: 1e9,
  serverGpus: 2,
  serverCpus: 6,
  serverHostBytes: 2e9,
};

/** A job as the state has it, and the state's way of changing it. */
function jobOf(more: object = {}): { readonly state: RunState; readonly job: JobRecord } {
  const state = new RunState();
  const file = jobsFileSchema.parse({
    jobs: [{ id: "one", command: ["true"], model: "m", ...more }],
  });
  const entry = file.jobs[0] as (typeof file.jobs)[number];
  const job = {
    id: entry.id,
    argv: ["true"] as const,
    directory: "/",
    environment: {},
    user: null,
    logFile: "/dev/null",
    gpus: entry.gpus,
    graceSeconds: 1,
    image: null,
  };
  state.apply({ at: 0, kind: "arrived", entry, job, verdict: null, reason: "" });
  return { state, job: state.jobs.get("one") as JobRecord };
}

const slice = (cpus: number) => ({
  server: "here",
  gpus: [0],
  cpus,
  hostBytes: 1e9,
  cacheBytes: 0,
  numa: null,
});
const start = (state: RunState, at: number, attempt: number, cpus: number): void =>
  state.apply({ at, kind: "ordered", id: "one", attempt, slices: [slice(cpus)], speed: 1 });

test("a stretch is what was reported between two reports of one grant, with the CPU time of that while", () => {
  const { state, job } = jobOf();
  const learning = new Learning(10);
  start(state, 0, 1, 2);
  const report = (at: number, samples = 5) =>
    learning.reported(job, at, { computeSeconds: 0.4, waitSeconds: 0.6, samples }, 0);
  report(1, 1000);
  for (let at = 2; at <= 11; at++) {
    expect(learning.looked(job, at - 0.5, 3 * (at - 0.5))).toBe(null);
    report(at);
  }
  // The first report, of the time before the stretch, counts for nothing.
  const seen = learning.looked(job, 11.5, 3 * 11.5);
  expect(seen).toMatchObject({ cpus: 2, gpus: 1, hostBytes: 1e9, wallSeconds: 10, samples: 50 });
  expect(seen?.cpuSeconds).toBeCloseTo(30, 9);
  expect(seen?.computeSeconds).toBeCloseTo(4, 9);
  expect(seen?.waitSeconds).toBeCloseTo(6, 9);
});

test("nothing is learnt over a change of the grant, a restart, a cold cache, or without the engine's CPU time", () => {
  const { state, job } = jobOf();
  const learning = new Learning(3);
  const seconds = (
    from: number,
    to: number,
    settle = 0,
    cpu: (at: number) => number | null = (at) => at,
  ) => {
    const found: Observation[] = [];
    for (let at = from; at < to; at++) {
      learning.reported(job, at, { computeSeconds: 1, waitSeconds: 0, samples: 1 }, settle);
      const seen = learning.looked(job, at, cpu(at));
      if (seen !== null) found.push(seen);
    }
    return found.length;
  };
  start(state, 0, 1, 1);
  expect(seconds(0, 3)).toBe(0);
  state.apply({ at: 3, kind: "resized", id: "one", slices: [slice(2)], speed: 1 });
  expect(seconds(3, 6)).toBe(0);
  start(state, 6, 2, 2);
  expect(seconds(6, 9)).toBe(0);
  start(state, 9, 3, 2);
  // Its first epoch: reports before second 19 say nothing of a warm cache.
  expect(seconds(9, 22, 10)).toBe(0);
  expect(seconds(22, 23, 10)).toBe(1);
  expect(seconds(23, 30, 0, () => null)).toBe(0);
  // Processes that ended took their count with them.
  expect(seconds(30, 38, 0, (at) => -at)).toBe(0);
  state.apply({ at: 40, kind: "asked", id: "one", reason: "others" });
  expect(seconds(40, 48)).toBe(0);
});

const modest: SpeedProfile = {
  name: "m",
  cpus: [1, 2, 3, 4, 5],
  hostBytes: [1e9],
  rate: [[10], [10], [10], [10], [10]],
};
const hungry: SpeedProfile = { ...modest, rate: [[10], [20], [30], [40], [50]] };

test("whatever a job reports, on idle cores it gets no more than its profile gives, and doubt brings it nothing", () => {
  fc.assert(
    fc.property(fc.integer(), fc.boolean(), (seed, wants) => {
      const rng = new Rng(seed);
      const beliefs = new Beliefs(new Map([["m", { profile: wants ? hungry : modest }]]), 1);
      const { state, job } = jobOf();
      let { best, floor } = beliefs.options(job, share);
      const measured = best;
      for (let i = 0; i < 30; i++) {
        // Any grant that it may get by what is believed of it.
        const cpus = Math.max(1, Math.round(floor.cpus + rng.next() * (best.cpus - floor.cpus)));
        const compute = rng.next();
        const observation = {
          cpus,
          gpus: 1,
          hostBytes: 1e9,
          wallSeconds: 60,
          cpuSeconds: 0.75 * rng.next() * cpus * 60,
          samples: 10 ** (4 * rng.next()),
          computeSeconds: compute * 60,
          waitSeconds: (1 - compute) * 60,
        };
        const doubt = beliefs.doubtOf(job, observation);
        state.apply({ at: i, kind: "observed", id: "one", observation, doubt });
        const now = beliefs.options(job, share);
        expect(now.best.cpus).toBeLessThanOrEqual(measured.cpus);
        if (doubt !== null) expect(now.best.cpus).toBeLessThanOrEqual(best.cpus);
        // And it keeps the speed of its share, by what is believed.
        expect(now.floor.speed).toBeGreaterThanOrEqual(1);
        ({ best, floor } = now);
      }
    }),
    { numRuns: 60 },
  );
});

test("a job whose reports do not add up gets what its profile gives it for its share's speed, no more", () => {
  const cases = [
    [modest, 1],
    [hungry, 3],
  ] as const;
  for (const [profile, floor] of cases) {
    const beliefs = new Beliefs(new Map([["m", { profile }]]), 1);
    const { state, job } = jobOf();
    const report = (samples: number): void => {
      const observation = {
        cpus: floor,
        gpus: 1,
        hostBytes: 1e9,
        wallSeconds: 60,
        cpuSeconds: 6,
        samples,
        computeSeconds: 20,
        waitSeconds: 40,
      };
      const doubt = beliefs.doubtOf(job, observation);
      state.apply({ at: 1, kind: "observed", id: "one", observation, doubt });
      beliefs.options(job, share);
    };
    report(60);
    for (let i = 0; i < 5; i++) report(6e6);
    expect(job.doubts).toBe(5);
    const { choices, best } = beliefs.options(job, share);
    expect(choices).toEqual([best]);
    expect(best).toMatchObject({ cpus: floor, speed: 1 });
    // Once they add up it is believed again.
    report(60);
    expect(job.doubts).toBe(0);
  }
});

test("progress is credited as far as it can be true, whatever is reported", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(fc.double({ min: 0.01, max: 20, noNaN: true }), fc.integer({ min: 0, max: 9 })),
      ),
      (reports) => {
        const { state, job } = jobOf({ samples: 1e6 });
        let at = 0;
        const books = new Books({ state, write: () => {}, now: () => at, note: () => {} });
        const beliefs = new Beliefs(new Map([["m", { profile: modest }]]), 1);
        start(state, 0, 1, 1);
        let told = 0;
        for (const [seconds, size] of reports) {
          at += seconds;
          const samples = 10 ** size;
          told += samples;
          const before = job.samples;
          books.progressed(job, 1, samples, beliefs.credibleRate(job));
          expect(job.samples).toBeGreaterThanOrEqual(before);
          expect(job.samples).toBeLessThanOrEqual(Math.min(told, 1e6, 12.5 * (at + 2)) + 1e-6);
        }
      },
    ),
  );
});
