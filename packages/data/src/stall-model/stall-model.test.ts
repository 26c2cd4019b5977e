import { Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jobProfileJsonSchema, parseJobProfile } from "../analyze/profile-file.ts";
import { committedSchema } from "../analyze/schema-file.conformance.ts";
import {
  bestDemand,
  type CachePolicy,
  cachePolicies,
  estimateEpoch,
  hitRate,
  type JobProfile,
  type JobRates,
  jobProfileUnits,
  modelledThroughput,
  mostJobs,
  policyAnswers,
  prepRate,
  type Resource,
  type Setting,
  smallestSufficient,
  throughputAt,
  whatIf,
} from "./index.ts";

const positive = fc.double({ min: 1e-3, max: 1e3, noNaN: true });
const rates: fc.Arbitrary<JobRates> = fc
  .record({
    samples: fc.integer({ min: 1, max: 1e6 }),
    kb: positive,
    g: positive,
    p: positive,
    q: positive,
    c: positive,
    s: positive,
    n: positive,
    miss: fc.double({ min: 0, max: 1e-2, noNaN: true }),
  })
  .map(({ samples, kb, g, p, q, c, s, n, miss }) => ({
    samples,
    bytesPerSample: 1e3 * kb,
    ingestionRate: 10 * g,
    prep: [
      { cores: 1, samplesPerSecond: p },
      { cores: 2, samplesPerSecond: p * (1 + Math.min(1, q)) },
    ],
    cacheBytesPerSecond: 1e8 * c,
    storageBytesPerSecond: 1e6 * s,
    networkBytesPerSecond: 1e7 * n,
    missCoreSeconds: miss,
  }));
const setting: fc.Arbitrary<Setting> = fc.record({
  cores: fc.integer({ min: 1, max: 64 }),
  cacheBytes: fc.double({ min: 0, max: 1e12, noNaN: true }),
  policy: fc.constantFrom(...cachePolicies),
  servers: fc.integer({ min: 1, max: 8 }),
  jobs: fc.integer({ min: 1, max: 8 }),
  coordinated: fc.boolean(),
});

/** Hits per epoch of a simulated cache of `slots` items, from the second epoch on. */
function simulate(policy: CachePolicy, items: number, slots: number, epochs: number): number {
  const order = Int32Array.from({ length: items }, (_, i) => i);
  const cache = new Map<number, true>();
  const rng = new Rng(items * slots);
  let hits = 0;
  for (let epoch = 0; epoch <= epochs; epoch++) {
    if (policy !== "sequential") rng.shuffle(order);
    for (const item of order) {
      if (cache.has(item)) {
        if (epoch > 0) hits++;
        if (policy === "minio") continue;
        cache.delete(item);
      } else if (cache.size >= slots) {
        if (policy === "minio") continue;
        cache.delete(cache.keys().next().value as number);
      }
      cache.set(item, true);
    }
  }
  return hits / epochs / items;
}

describe("hit rates", () => {
  it.each(["minio", "lru", "sequential"] as const)(
    "of %s agree with a simulated cache",
    (policy) => {
      for (const share of [0.1, 0.35, 0.65, 0.9])
        expect(hitRate(policy, share)).toBeCloseTo(simulate(policy, 4000, 4000 * share, 6), 2);
    },
  );

  it("are never above the cached share, which MinIO reaches", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 2, noNaN: true }), (share) => {
        const best = hitRate("minio", share);
        expect(best).toBe(Math.min(1, share));
        for (const policy of cachePolicies) {
          expect(hitRate(policy, share)).toBeLessThanOrEqual(best + 1e-12);
          expect(hitRate(policy, share)).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });
});

it("prep rates go through the measured points and say when they leave them", () => {
  const prep = [
    { cores: 1, samplesPerSecond: 100 },
    { cores: 2, samplesPerSecond: 180 },
    { cores: 4, samplesPerSecond: 300 },
  ];
  expect(prepRate(prep, 2)).toEqual({ samplesPerSecond: 180, extrapolated: false });
  expect(prepRate(prep, 3)).toEqual({ samplesPerSecond: 240, extrapolated: false });
  expect(prepRate(prep, 6)).toEqual({ samplesPerSecond: 420, extrapolated: true });
  expect(prepRate(prep, 0.5)).toEqual({ samplesPerSecond: 50, extrapolated: true });
  expect(prepRate(prep.slice(0, 1), 3).samplesPerSecond).toBe(300);
  expect(prepRate([], 1).samplesPerSecond).toBe(Number.POSITIVE_INFINITY);
});

describe("an epoch", () => {
  it("is what DS-Analyzer's formulas say", () => {
    // 652 MB of 6000 images, 60 MB/s, an accelerator of 1500 images/s (an experiment of the design notes).
    const job: JobRates = {
      samples: 6000,
      bytesPerSample: 652e6 / 6000,
      ingestionRate: 1500,
      prep: [],
      cacheBytesPerSecond: 10e9,
      storageBytesPerSecond: 60e6,
    };
    const at = (share: number, policy: CachePolicy) =>
      estimateEpoch(job, { cores: 1, cacheBytes: share * 652e6, policy });
    const minio = at(0.35, "minio");
    expect(minio.epochSeconds).toBeCloseTo((0.65 * 652) / 60 + (0.35 * 652) / 10e3, 9);
    expect(minio.bottleneck).toBe("fetch");
    expect(minio.fetchStallSeconds).toBeCloseTo(minio.epochSeconds - 4, 9);
    expect(at(0.65, "minio").epochSeconds).toBe(4);
    expect(at(0.65, "minio").stallShare).toBe(0);
    expect(at(0.65, "lru").epochSeconds).toBeGreaterThan(7);
    expect(at(1, "lru").epochSeconds).toBe(4);
    // x* = (b/S - 1/R) / (b/S - b/C)
    const b = job.bytesPerSample;
    const least = (b / 60e6 - 1 / 1500) / (b / 60e6 - b / 10e9);
    const answer = smallestSufficient(
      job,
      { cores: 1, cacheBytes: 0, policy: "minio" },
      "cacheBytes",
    );
    expect(answer.value).toBeCloseTo(least * 652e6, -1);
    // S* = b (1 - x) / (1/R - x b / C)
    const faster = smallestSufficient(
      job,
      { cores: 1, cacheBytes: 0.35 * 652e6, policy: "minio" },
      "storage",
    );
    expect(faster.value).toBeCloseTo((b * 0.65) / (1 / 1500 - (0.35 * b) / 10e9), -1);
  });

  it("is the longest stage, split without remainder, and never longer with more of anything", () => {
    fc.assert(
      fc.property(
        rates,
        setting,
        fc.double({ min: 1, max: 10, noNaN: true }),
        (job, given, more) => {
          const now = estimateEpoch(job, given);
          const { compute, prep, fetch } = now.stages;
          expect(now.epochSeconds).toBe(Math.max(compute, prep, fetch));
          expect(now.stages[now.bottleneck]).toBe(now.epochSeconds);
          const sum = compute + now.prepStallSeconds + now.fetchStallSeconds;
          expect(Math.abs(sum - now.epochSeconds)).toBeLessThanOrEqual(1e-9 * now.epochSeconds);
          const { local, remote, storage } = now.hits;
          expect(local + remote + storage).toBeCloseTo(1, 12);
          const better: readonly [Resource, number][] = [
            ["cacheBytes", given.cacheBytes * more],
            ["cores", given.cores * more],
            ["storage", job.storageBytesPerSecond * more],
            ["network", (job.networkBytesPerSecond ?? 0) * more],
            ["accelerator", job.ingestionRate * more],
          ];
          for (const [resource, value] of better) {
            // A network or cache slower than storage makes hits a loss: then more cache is no gain.
            if (resource === "cacheBytes" && slowCache(job)) continue;
            const then = whatIf(job, given, resource, value).epochSeconds;
            expect(then).toBeLessThanOrEqual(now.epochSeconds * (1 + 1e-9));
          }
        },
      ),
    );
  });

  it("of coordinated jobs is that of one job alone; otherwise jobs divide cores and storage", () => {
    fc.assert(
      fc.property(rates, setting, (job, given) => {
        const alone = estimateEpoch(job, { ...given, jobs: 1 });
        expect(estimateEpoch(job, { ...given, coordinated: true }).epochSeconds).toBe(
          alone.epochSeconds,
        );
        const apart = estimateEpoch(job, { ...given, coordinated: false });
        expect(apart.epochSeconds).toBeGreaterThanOrEqual(alone.epochSeconds * (1 - 1e-12));
      }),
    );
  });
});

function slowCache(job: JobRates): boolean {
  return (
    Math.min(job.cacheBytesPerSecond, job.networkBytesPerSecond ?? 0) < job.storageBytesPerSecond
  );
}

it("the smallest sufficient value suffices, and a little less does not", () => {
  fc.assert(
    fc.property(
      rates,
      setting,
      fc.constantFrom<Resource>("cacheBytes", "cores", "storage", "network"),
      (job, given, resource) => {
        if (slowCache(job)) return;
        const { value, estimate } = smallestSufficient(job, given, resource);
        if (value === null) return;
        const { compute, prep, fetch } = estimate.stages;
        const waits = (e: typeof estimate) =>
          resource === "cores"
            ? e.stages.prep - Math.max(e.stages.compute, e.stages.fetch)
            : e.stages.fetch - Math.max(e.stages.compute, e.stages.prep);
        expect(waits(estimate)).toBeLessThanOrEqual(1e-6 * Math.max(compute, prep, fetch));
        const less = resource === "cores" ? value - 1 : value * 0.999 - 2;
        if (less > 0) expect(waits(whatIf(job, given, resource, less))).toBeGreaterThan(-1e-9);
      },
    ),
  );
});

it("the most jobs are fed, and one more is not; of another policy the cache that is enough is", () => {
  fc.assert(
    fc.property(rates, setting, (job, given) => {
      if (slowCache(job)) return;
      const { value, estimate } = smallestSufficient(job, given, "jobs");
      const fed = (jobs: number): boolean => whatIf(job, given, "jobs", jobs).stallShare <= 1e-12;
      if (value === null) expect(fed(1)).toBe(false);
      else {
        expect(estimate.stallShare).toBeLessThanOrEqual(1e-12);
        expect(value === mostJobs || !fed(value + 1)).toBe(true);
        if (given.coordinated === true) expect(value).toBe(mostJobs);
      }
      for (const { policy, estimate: then, sufficientCacheBytes } of policyAnswers(job, given)) {
        expect(then).toEqual(estimateEpoch(job, { ...given, policy }));
        if (sufficientCacheBytes === null) continue;
        const { stages } = estimateEpoch(job, {
          ...given,
          policy,
          cacheBytes: sufficientCacheBytes,
        });
        const bound = Math.max(stages.compute, stages.prep);
        expect(stages.fetch).toBeLessThanOrEqual(bound * (1 + 1e-6));
      }
    }),
  );
});

describe("job profiles", () => {
  const job: JobRates = {
    samples: 1000,
    bytesPerSample: 1e5,
    ingestionRate: 900,
    prep: [{ cores: 1, samplesPerSecond: 300 }],
    cacheBytesPerSecond: 5e9,
    storageBytesPerSecond: 5e7,
  };
  const cpus = [1, 2, 3, 4];
  const cacheBytes = [0, 25e6, 50e6, 75e6, 100e6];
  const profile: JobProfile = {
    schema: "millrace.job-profile/1",
    name: "resnet",
    units: jobProfileUnits,
    gpus: 1,
    cpus,
    cacheBytes,
    samplesPerSecond: modelledThroughput(job, cpus, cacheBytes, "minio"),
    source: "modelled",
    policy: "minio",
    rates: { ...job, prep: [...job.prep] },
    machine: { cpu: "a", cores: 4, hostMemoryBytes: 1e9, storage: "b", accelerator: "c" },
    date: "2026-01-01T00:00:00Z",
  };

  it("survive writing and reading, and agree with the model between their points", () => {
    expect(parseJobProfile(JSON.stringify(profile), "p.json")).toEqual(profile);
    expect(throughputAt(profile, 2, 75e6)).toBe(profile.samplesPerSecond[1]?.[3]);
    expect(throughputAt(profile, 2.5, 100e6)).toBeCloseTo(750, 6);
    expect(throughputAt(profile, 0.5, 100e6)).toBeCloseTo(150, 6);
    expect(throughputAt(profile, 99, 1e12)).toBeCloseTo(900, 6);
    expect(bestDemand(profile)).toMatchObject({ cpus: 3, cacheBytes: 50e6 });
  });

  it("refuse what cannot be, with the place", () => {
    const broken = (change: object) => () =>
      parseJobProfile(JSON.stringify({ ...profile, ...change }), "p.json");
    expect(broken({ samplesPerSecond: [[1]] })).toThrow(/samplesPerSecond/);
    expect(broken({ cpus: [1, 1, 2, 3] })).toThrow(/cpus/);
    expect(broken({ gpus: 0 })).toThrow(/gpus/);
    expect(broken({ polcy: "minio" })).toThrow(/polcy/);
    expect(() => parseJobProfile("{", "p.json")).toThrow(/./);
    const holes = {
      ...profile,
      samplesPerSecond: profile.samplesPerSecond.map((r) => r.map(() => null)),
    };
    expect(throughputAt(holes, 2, 0)).toBeNull();
    expect(() => bestDemand(holes)).toThrow(/no entry/);
  });

  it("have a JSON schema that is up to date (npm run schemas)", () => {
    expect(committedSchema("job-profile")).toEqual(
      JSON.parse(JSON.stringify(jobProfileJsonSchema())),
    );
  });
});
