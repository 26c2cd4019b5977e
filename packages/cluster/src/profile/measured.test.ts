import { jobProfileSchema } from "@millrace/data/stall-model";
import { describe, expect, test } from "vitest";
import { coldEpoch, fromJobProfile, modelOfJobProfile } from "./from-job-profile.ts";
import { measureCurve, optimisticProfile } from "./optimistic.ts";
import { speedOptions } from "./options.ts";
import { doubt, type Observation, refineProfile } from "./refine.ts";
import type { SpeedProfile } from "./speed-profile.ts";

const machine = {
  cpu: "x",
  cores: 24,
  hostMemoryBytes: 500e9,
  storage: "ssd",
  accelerator: "none",
};
const date = "2026-01-02T03:04:05Z";
/** Preparation of 100 samples per second and core up to a GPU that takes 900. */
const rateOf = (cpus: number): number => Math.min(900, 100 * cpus);

describe("optimistic profiling", () => {
  test("halves while nothing is lost, then goes down by one, and drops the warm-up", async () => {
    const asked: number[] = [];
    const points = await measureCurve(
      async (cpus) => {
        asked.push(cpus);
        return asked.length === 1 ? 1 : rateOf(cpus);
      },
      { cpus: 24, gpus: 1 },
    );
    expect(asked).toEqual([24, 24, 12, 6, 5, 4, 3, 2, 1]);
    expect(points[0]).toEqual({ cpus: 1, samplesPerSecond: 100 });
    expect(points.at(-1)).toEqual({ cpus: 24, samplesPerSecond: 900 });
  });

  test("memory follows from the rule of the cache: with half the data set cached, half is fetched", async () => {
    const points = await measureCurve(async (cpus) => rateOf(cpus), { cpus: 12, gpus: 1 });
    const storage = {
      samplesPerEpoch: 10_000,
      bytesPerSample: 100_000,
      storageBytesPerSecond: 20e6,
      cacheBytesPerSecond: 1e12,
    };
    const profile = optimisticProfile({
      name: "res",
      gpus: 1,
      points,
      storage,
      hostBytes: 2e9,
      machine,
      date,
    });
    expect(jobProfileSchema.parse(profile)).toEqual(profile);
    const row = profile.samplesPerSecond[profile.cpus.indexOf(12)] ?? [];
    // 20 MB/s bring 200 samples/s of 100 kB: all of them, or every second one.
    expect(row[0]).toBeCloseTo(200, 0);
    expect(row[5]).toBeCloseTo(400, 0);
    expect(row[10]).toBeCloseTo(900, 0);
    const imported = fromJobProfile(profile);
    const share = {
      cpusPerGpu: 3,
      hostBytesPerGpu: 2.5e9,
      serverGpus: 8,
      serverCpus: 24,
      serverHostBytes: 20e9,
    };
    // A cold epoch takes 50 s at 200 samples/s, a warm one 33 s at the 300 of three CPUs.
    const { refillSeconds = 0, refillBytesPerSecond = 0 } = coldEpoch(profile, 3);
    expect(refillSeconds).toBeCloseTo(10_000 / 200 - 10_000 / 300, 1);
    // While it is cold it waits for storage, and so its cache fills at storage's rate.
    expect(refillBytesPerSecond / 20e6).toBeCloseTo(1, 2);
    expect(modelOfJobProfile({ ...profile, batchSize: 30 }, 3, 3e9).iterationSeconds).toBeCloseTo(
      0.1,
    );
    const { best } = speedOptions(imported.profile, 1, share, imported.ownBytes);
    // 6 and 12 CPUs were measured, so 9 are between; a fifth of the reads at 20 MB/s is fast enough.
    expect(best).toMatchObject({ cpus: 12, hostBytes: 2.8e9, cacheBytes: 0.8e9 });
  });
});

describe("refinement", () => {
  const believed: SpeedProfile = {
    name: "m",
    cpus: [1, 3, 6, 12],
    hostBytes: [20e9],
    rate: [[100], [300], [600], [900]],
  };
  /** An honest job that prepares 100 samples per core and second, computing 1 ms per sample. */
  const honest = (cpus: number, perCore = 100): Observation => {
    const samples = Math.min(900, perCore * cpus) * 100;
    return {
      cpus,
      gpus: 1,
      hostBytes: 20e9,
      wallSeconds: 100,
      cpuSeconds: samples / perCore,
      samples,
      computeSeconds: samples / 1000,
      waitSeconds: 100 - samples / 1000,
    };
  };

  test("honest reports are believed; slower ones lower the curve step by step, in bounds", () => {
    expect(doubt(honest(3), [])).toBeNull();
    expect(doubt(honest(6), [honest(3)])).toBeNull();
    let profile = believed;
    for (let i = 0; i < 20; i++) profile = refineProfile(profile, [honest(3, 80)]);
    expect(profile.rate[1]?.[0]).toBeCloseTo(240, 0);
    expect(profile.rate[2]?.[0]).toBeLessThanOrEqual(480 + 1);
    expect(profile.rate[0]?.[0]).toBeGreaterThanOrEqual(80 - 1);
  });

  test.each([
    [
      "samples out of thin air",
      { ...honest(6), samples: 3 * honest(6).samples, cpuSeconds: 200 },
      "compute-changed",
    ],
    [
      "samples out of thin air on busy cores",
      { ...honest(6), samples: 3 * honest(6).samples },
      "cpu-per-sample-changed",
    ],
    [
      "samples and compute made up alike",
      { ...honest(6), samples: 120_000, computeSeconds: 100, waitSeconds: 0, cpuSeconds: 300 },
      "cpu-per-sample-changed",
    ],
    ["waiting that never was", { ...honest(6), waitSeconds: 500 }, "time-does-not-add-up"],
    ["CPU time beyond the grant", { ...honest(6), cpuSeconds: 900 }, "more-cpu-than-granted"],
    ["a second of running", { ...honest(6), wallSeconds: 1 }, "too-short"],
  ] as const)("not believed: %s", (_, told, reason) => {
    expect(doubt(told, [honest(3)])).toBe(reason);
  });

  test("a gain above what the CPUs bring is not believed", () => {
    const slow = {
      ...honest(3),
      samples: 10_000,
      cpuSeconds: 100,
      computeSeconds: 10,
      waitSeconds: 90,
    };
    const fast = { ...honest(6), samples: 60_000, cpuSeconds: 600 };
    expect(doubt(fast, [slow])).toBe("faster-than-cpus-allow");
  });

  test("a job that dawdles on few CPUs to look hungry loses its claim to more", () => {
    // It reports little at its share, but its cores were idle there, which was measured.
    const idle: Observation = {
      ...honest(3),
      samples: 10_000,
      cpuSeconds: 100,
      computeSeconds: 10,
      waitSeconds: 90,
    };
    const after = refineProfile(believed, [idle]);
    const share = {
      cpusPerGpu: 3,
      hostBytesPerGpu: 62.5e9,
      serverGpus: 8,
      serverCpus: 24,
      serverHostBytes: 500e9,
    };
    expect(speedOptions(believed, 1, share).best.cpus).toBeGreaterThan(6);
    expect(speedOptions(after, 1, share).best.cpus).toBeLessThanOrEqual(3);
  });
});
