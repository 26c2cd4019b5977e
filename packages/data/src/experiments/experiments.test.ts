import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { LinePointSource } from "@millrace/core/job";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { analyzeData } from "../analyze/analysis.ts";
import { difference, measured } from "../analyze/interval.ts";
import { profileOf } from "../analyze/profile.ts";
import { parseJobProfile } from "../analyze/profile-file.ts";
import { dataAnalysisReport } from "../analyze/report.ts";
import { storesInstalled } from "../peers/store-servers.conformance.ts";
import { openFolder } from "../source/folder.ts";
import { hitRate } from "../stall-model/hit-rate.ts";
import { throughputAt } from "../stall-model/job-profile.ts";
import { makeJpegSet } from "../synthetic/jpeg-set.ts";
import { Accelerator } from "./accelerator.ts";
import { dataBenchReport } from "./bench-report.ts";
import { speedUps } from "./bench-result.ts";
import { machineFacts, probeBounds } from "./bounds.ts";
import { runCacheExperiment } from "./cache-experiment.ts";
import { runCoordinatedExperiment } from "./coordinated-experiment.ts";
import { LruCache } from "./lru-cache.ts";
import { runPartitionedExperiment } from "./partitioned-experiment.ts";
import { subsetSource } from "./subset.ts";

const dir = mkdtempSync(join(tmpdir(), "millrace-experiments-"));
afterAll(() => rmSync(dir, { recursive: true }));
makeJpegSet(dir, { count: 96, width: 120 });
const source = openFolder(dir);

it("an epoch at a rate takes samples / rate when data is there, whatever the batches", async () => {
  await using points = new LinePointSource(100, 7, 1);
  const accelerator = new Accelerator(points);
  const epoch = await accelerator.epoch(2000);
  expect(epoch.samples).toBe(100);
  // A clock may be late, never early.
  expect(epoch.seconds).toBeGreaterThanOrEqual(0.05 - 1e-9);
  expect(epoch.stallSeconds).toBeLessThanOrEqual(epoch.seconds);
  expect((await accelerator.epoch(Number.POSITIVE_INFINITY)).samples).toBe(100);
  accelerator.stop();
});

describe("the LRU cache", () => {
  it("holds what was used last and fits, whatever is asked of it", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 9000 })), {
          maxLength: 200,
        }),
        fc.integer({ min: 1, max: 60_000 }),
        (uses, capacity) => {
          const sizes = new Map<number, number>();
          using cache = new LruCache(capacity, 31);
          let model: number[] = [];
          const held = () => model.reduce((sum, item) => sum + (sizes.get(item) as number), 0);
          for (const [item, size] of uses) {
            if (!sizes.has(item)) sizes.set(item, size);
            const bytes = sizes.get(item) as number;
            const hit = cache.lookup(item);
            expect(hit !== null).toBe(model.includes(item));
            model = model.filter((i) => i !== item);
            if (hit !== null) {
              const area = cache.areas()[hit.area];
              if (area?.kind !== "buffer") throw new Error("no buffer");
              expect(
                new Uint8Array(area.buffer, hit.offset, hit.bytes).every((b) => b === item),
              ).toBe(true);
              cache.release(item);
              model.push(item);
            } else if (bytes <= capacity) {
              expect(cache.admit(item, new Uint8Array(bytes).fill(item))).toBe(true);
              model.push(item);
              while (held() > capacity) model.shift();
            } else expect(cache.admit(item, new Uint8Array(bytes))).toBe(false);
            expect(cache.counts()).toMatchObject({ items: model.length, usedBytes: held() });
          }
        },
      ),
    );
  });

  it("hits as often as the formula says under random orders", () => {
    const items = 2000;
    using cache = new LruCache(1000 * items * 0.6, items);
    const order = Int32Array.from({ length: items }, (_, i) => i);
    const rng = new Rng(3);
    for (let epoch = 0; epoch < 6; epoch++) {
      rng.shuffle(order);
      for (const item of order)
        if (cache.lookup(item) === null) cache.admit(item, new Uint8Array(1000));
        else cache.release(item);
    }
    const { hits } = cache.counts();
    expect(hits / (5 * items)).toBeCloseTo(hitRate("lru", 0.6), 1);
  });

  it("keeps what is in use", () => {
    using cache = new LruCache(1000, 2);
    cache.admit(1, new Uint8Array(800));
    cache.lookup(1);
    expect(cache.admit(2, new Uint8Array(800))).toBe(false);
    cache.release(1);
    expect(cache.admit(2, new Uint8Array(800))).toBe(true);
    expect(cache.has(1)).toBe(false);
    expect(() => cache.release(2)).toThrow(/not pinned/);
  });
});

it("a subset is a data set of so many distinct items", () => {
  const part = subsetSource(source, 10, 1);
  expect(part.length).toBe(10);
  const names = new Set(Array.from({ length: 10 }, (_, i) => part.name(i)));
  expect(names.size).toBe(10);
  expect(part.identity).not.toBe(source.identity);
  expect(part.identity).not.toBe(subsetSource(source, 10, 2).identity);
  expect(subsetSource(source, 1000, 1)).toBe(source);
  expect(() => part.extent(10)).toThrow();
});

it("intervals hold their mean, and differences are not negative", () => {
  const a = measured([1, 2, 3, 4], 1);
  expect(a).toMatchObject({ value: 2.5, n: 4 });
  expect(a.low).toBeLessThan(2.5);
  expect(a.high).toBeGreaterThan(2.5);
  expect(difference([5, 5], [3, 3], 1)).toMatchObject({ value: 2, low: 2, high: 2 });
  expect(difference([1, 1], [3, 3], 1)).toMatchObject({ value: 0, low: 0, high: 0 });
});

/** Both start processes, which takes its time on a machine that is busy. */
const patience = 120_000;

it("a small analysis measures, answers, and writes a profile that can be read", {
  timeout: patience,
}, async () => {
  const analysis = await analyzeData(
    {
      dataset: { path: dir },
      samples: source.length,
      bytes: source.totalBytes,
      ingestionRate: 500,
      prep: "image",
      batchSize: 8,
      seed: 1,
      cores: [1],
      epochs: 1,
      inFlight: 8,
      storage: { bytesPerSecond: 1e6 },
      setting: { cores: 1, cacheBytes: 0, policy: "minio" },
      questions: [{ resource: "storage", value: 1e9 }],
    },
    "2026-01-01T00:00:00.000Z",
  );
  expect(analysis.storageKind).toBe("emulated");
  const patterns = analysis.measuredRates.storageByPattern;
  expect(patterns.filter(({ size }) => size === "items").map(({ depth }) => depth)).toEqual([
    1, 4, 16,
  ]);
  for (const { reads, bytesPerSecond } of patterns) {
    expect(reads).toBeGreaterThan(0);
    expect(bytesPerSecond).toBeGreaterThan(0);
  }
  expect(analysis.rates.bytesPerSample).toBeCloseTo(source.totalBytes / source.length, 6);
  expect(analysis.rates.storageBytesPerSecond).toBe(1e6);
  // 96 images of about 8 kB through 1 MB/s: much longer than at 500 samples/s.
  expect(analysis.now.bottleneck).toBe("fetch");
  expect(analysis.split.fetchStall.value).toBeGreaterThan(0);
  expect(analysis.split.coldEpoch.value).toBeGreaterThan((0.9 * source.totalBytes) / 1e6);
  const cache = analysis.sufficient.find(({ resource }) => resource === "cacheBytes");
  expect(cache?.value).toBeGreaterThan(0);
  expect(cache?.value).toBeLessThanOrEqual(source.totalBytes);
  expect(analysis.questions[0]?.estimate.epochSeconds).toBeLessThan(analysis.now.epochSeconds);
  const profile = profileOf(analysis, { name: "small", batchSize: 8 });
  expect(parseJobProfile(JSON.stringify(profile), "p.json")).toEqual(profile);
  expect(throughputAt(profile, 1, 0)).toBeCloseTo(analysis.now.samplesPerSecond, 6);
  expect(dataAnalysisReport(analysis).sections.map(({ id }) => id)).toEqual([
    "stages",
    "what-if",
    "cache",
    "jobs",
  ]);
});

it("a small experiment on emulated storage: MinIO reads what the formula says, LRU more", {
  timeout: patience,
}, async () => {
  const bounds = { memory: false, device: null, namespaces: false, reasons: ["for the test"] };
  const cache = await runCacheExperiment({
    dataset: dir,
    prep: "none",
    shares: [0.5],
    variants: ["page-cache", "lru", "minio"],
    epochs: 3,
    batchSize: 4,
    samplesPerSecond: 1e4,
    storage: { bytesPerSecond: 4e6 },
    bounds,
    workers: 1,
    seed: 1,
  });
  expect(cache.left).toEqual([expect.stringContaining("for the test")]);
  const [lru, minio] = cache.rows;
  expect(minio?.storage.kind).toBe("emulated");
  // Which items are read ahead over the border of an epoch differs between epochs.
  expect(Math.abs((minio?.hitRate ?? 0) - 0.5)).toBeLessThan(0.12);
  expect(lru?.hitRate).toBeLessThan(minio?.hitRate ?? 0);
  const [up] = speedUps(cache);
  expect(up).toMatchObject({ share: 0.5, over: "lru" });
  expect(up?.predicted).toBeGreaterThan(1);
  const report = dataBenchReport({
    schema: "millrace.data-bench/1",
    machine: machineFacts(),
    date: "",
    seed: 1,
    dataset: { items: 96, bytes: source.totalBytes },
    emulated: bounds.reasons,
    cache,
    coordinated: null,
    partitioned: null,
  });
  expect(report.sections.map(({ id }) => id)).toEqual(["cache", "emulated"]);
  expect(probeBounds(dir).reasons).toBeInstanceOf(Array);
});

const namespaces = probeBounds(dir).namespaces;
// Network namespaces are root's; where they cannot be had, the test says so by being skipped.
it.runIf(namespaces && storesInstalled()).each(["redis", "memcached"] as const)(
  "two servers with a store of %s read nothing from their disks after the first epoch",
  { timeout: patience },
  async (store) => {
    const [row] = await runPartitionedExperiment({
      dataset: dir,
      servers: [2],
      epochs: 1,
      prep: "none",
      store,
      storage: { operationsPerSecond: 50, bytesPerSecond: 1e9 },
      bounds: { memory: false, device: null, namespaces, reasons: [] },
      seed: 1,
      settleSeconds: 0,
      leastSeconds: 0.1,
    });
    expect(row).toMatchObject({ servers: 2, store, storage: { kind: "emulated" } });
    expect(row?.alone.storageBytes).toBeGreaterThan(0);
    expect(row?.partitioned.storageBytes).toBe(0);
  },
);

it("jobs that share each preparation are counted together", { timeout: patience }, async () => {
  const [row] = await runCoordinatedExperiment({
    dataset: dir,
    jobs: [2],
    epochs: 1,
    workers: 1,
    cacheBytes: 2e6,
    seed: 1,
  });
  expect(row?.jobs).toBe(2);
  expect(row?.alone.median).toBeGreaterThan(0);
  expect(row?.ratio).toBeCloseTo((row?.coordinated.median ?? 0) / (row?.alone.median ?? 1), 9);
});
