import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { sharedFolder, sharedRoom } from "@millrace/system";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { AreaViews } from "../batch/area.ts";
import { Sampler } from "../sampler/sampler.ts";
import { openFolder } from "../source/folder.ts";
import type { Source } from "../source/source.ts";
import { MinioCache } from "./minio-cache.ts";

const root = mkdtempSync(join(tmpdir(), "millrace-cache-"));
const folder = mkdtempSync(join(sharedFolder(), "test-"));
afterAll(() => {
  rmSync(root, { recursive: true });
  rmSync(folder, { recursive: true });
});

let made = 0;

/** A data set of files of these sizes; file i is filled with byte i. */
function dataset(sizes: readonly number[]): Source {
  const path = join(root, String(made++), "c");
  mkdirSync(path, { recursive: true });
  sizes.forEach((size, i) => {
    writeFileSync(join(path, `${String(i).padStart(4, "0")}.jpg`), Buffer.alloc(size, i % 251));
  });
  return openFolder(join(path, ".."));
}

/** One epoch as a loader has it: hits, and misses that are read and offered. */
function epoch(cache: MinioCache, source: Source, seed: number, number: number): number {
  cache.beginEpoch();
  const views = new AreaViews();
  const before = cache.counts().hits;
  for (const item of new Sampler({ length: source.length, shuffle: true, rank: 0, world: 1 }).order(
    seed,
    number,
  )) {
    const hit = cache.lookup(item);
    const content = readFileSync(source.extent(item).path);
    if (hit === null) cache.admit(item, content);
    else
      expect(
        Buffer.compare(
          views.bytes(cache.areas()[hit.area] as never, hit.offset, hit.bytes),
          content,
        ),
      ).toBe(0);
  }
  views[Symbol.dispose]();
  return cache.counts().hits - before;
}

describe("hits of an epoch", () => {
  test("are the capacity from the second epoch on, never below and never above", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 5000 }),
        fc.double({ min: 0, max: 1.3, noNaN: true }),
        fc.integer(),
        (n, bytes, share, seed) => {
          const source = dataset(Array.from({ length: n }, () => bytes));
          const capacityBytes = Math.floor(share * n * bytes);
          using cache = new MinioCache({ source, capacityBytes, folder, persistent: false });
          expect(epoch(cache, source, seed, 0)).toBe(0);
          const slots = Math.min(n, Math.floor(capacityBytes / bytes));
          for (let e = 1; e < 4; e++) expect(epoch(cache, source, seed, e)).toBe(slots);
          expect(cache.counts().usedBytes).toBe(slots * bytes);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("with items of many sizes lack less than the largest item, and stay as they are", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 3, maxLength: 40 }),
        fc.integer({ min: 10, max: 90 }),
        (sizes, percent) => {
          const source = dataset(sizes);
          const capacityBytes = Math.floor((percent * source.totalBytes) / 100);
          using cache = new MinioCache({ source, capacityBytes, folder, persistent: false });
          epoch(cache, source, 1, 0);
          // Later epochs still fill what smaller items can fill; then nothing changes any more.
          for (let e = 1; e < 3; e++) epoch(cache, source, 1, e);
          const { usedBytes, items } = cache.counts();
          expect(usedBytes).toBeLessThanOrEqual(capacityBytes);
          expect(usedBytes).toBeGreaterThan(capacityBytes - Math.max(...sizes));
          for (let e = 3; e < 5; e++) expect(epoch(cache, source, 1, e)).toBe(items);
          expect(cache.counts().evicted).toBe(0);
        },
      ),
      { numRuns: 15 },
    );
  });
});

test("the bound changes between epochs alone; a smaller one drops items and gives memory back", () => {
  const source = dataset(Array.from({ length: 20 }, () => 8192));
  using cache = new MinioCache({ source, capacityBytes: 20 * 8192, folder, persistent: false });
  epoch(cache, source, 1, 0);
  cache.setCapacityBytes(5 * 8192 + 100);
  expect(cache.counts().items).toBe(20);
  expect(epoch(cache, source, 1, 1)).toBe(5);
  expect(cache.counts()).toMatchObject({ items: 5, evicted: 15, usedBytes: 5 * 8192 });
  const segment = cache.areas()[0];
  expect(segment?.kind === "file" && statSync(segment.path).size).toBe(6 * 8192 - 4096);
  cache.setCapacityBytes(12 * 8192);
  expect(epoch(cache, source, 1, 2)).toBe(5);
  expect(epoch(cache, source, 1, 3)).toBe(12);
});

test("what stays after a smaller bound is a random subset, the same for the same seed", () => {
  const source = dataset(Array.from({ length: 200 }, () => 64));
  const kept = (seed: number): number[] => {
    using cache = new MinioCache({ source, capacityBytes: 200 * 64, folder, persistent: false });
    epoch(cache, source, seed, 0);
    cache.setCapacityBytes(50 * 64);
    cache.beginEpoch();
    return Array.from({ length: 200 }, (_, i) => i).filter((i) => cache.has(i));
  };
  const first = kept(1);
  expect(first.length).toBe(50);
  expect(kept(1)).toEqual(first);
  expect(kept(2)).not.toEqual(first);
  expect(first.filter((i) => i < 100).length).toBeGreaterThan(10);
  expect(first.filter((i) => i >= 100).length).toBeGreaterThan(10);
});

describe("the files of a cache", () => {
  test("serve the next run, without what changed on storage", () => {
    const source = dataset(Array.from({ length: 10 }, () => 1000));
    {
      using cache = new MinioCache({ source, capacityBytes: 10_000, folder });
      epoch(cache, source, 1, 0);
    }
    const changed = source.extent(3).path;
    writeFileSync(changed, Buffer.alloc(1000, 99));
    utimesSync(changed, 1, 1);
    const again = openFolder(source.path);
    expect(again.identity).not.toBe(source.identity);
    using cache = new MinioCache({
      source: again,
      capacityBytes: 10_000,
      folder,
      persistent: false,
    });
    expect(cache.counts().items).toBe(9);
    expect(epoch(cache, again, 2, 0)).toBe(9);
    expect(epoch(cache, again, 2, 1)).toBe(10);
  });

  test("are checked: a damaged item is read again", () => {
    const source = dataset([5000, 5000]);
    let path = "";
    {
      using cache = new MinioCache({ source, capacityBytes: 10_000, folder });
      epoch(cache, source, 1, 0);
      path = join(cache.path, "segment-0");
    }
    const bytes = readFileSync(path);
    bytes[2500] = 77;
    writeFileSync(path, bytes);
    using cache = new MinioCache({ source, capacityBytes: 10_000, folder, persistent: false });
    expect(epoch(cache, source, 1, 1)).toBe(1);
  });

  test("are shared by jobs: what one admits the other hits, and none drops what both use", () => {
    const source = dataset(Array.from({ length: 12 }, () => 3000));
    using one = new MinioCache({ source, capacityBytes: 18_000, folder, persistent: false });
    using two = new MinioCache({ source, capacityBytes: 36_000, folder, persistent: false });
    expect(one.path).toBe(two.path);
    const random = new Rng("jobs");
    const order = Int32Array.from({ length: 12 }, (_, i) => i);
    random.shuffle(order);
    for (const item of order)
      (random.next() < 0.5 ? one : two).admit(item, readFileSync(source.extent(item).path));
    expect(epoch(one, source, 1, 1)).toBe(12);
    expect(epoch(two, source, 2, 1)).toBe(12);
    one.setCapacityBytes(6000);
    expect(epoch(one, source, 1, 2)).toBe(12);
    two[Symbol.dispose]();
    expect(epoch(one, source, 1, 3)).toBe(2);
  });

  test("are gone with the last job when they are not to persist", () => {
    const source = dataset([10]);
    const cache = new MinioCache({ source, capacityBytes: 100, folder, persistent: false });
    const { path } = cache;
    expect(readdirSync(path)).toContain("index");
    cache[Symbol.dispose]();
    expect(existsSync(path)).toBe(false);
  });
});

test("a bound beyond shared memory is refused with what there is", () => {
  const source = dataset([10]);
  const huge: Source = new Proxy(source, {
    get: (target, name) =>
      name === "totalBytes"
        ? 2 ** 50
        : (Reflect.get(target, name).bind?.(target) ?? Reflect.get(target, name)),
  });
  expect(sharedRoom(folder)).toBeLessThan(2 ** 49);
  expect(
    () => new MinioCache({ source: huge, capacityBytes: 2 ** 49, folder, persistent: false }),
  ).toThrow(/does not fit: .* has room for \d+/);
  // The one that was refused holds nothing, and between epochs a bound is what can be had.
  using cache = new MinioCache({ source: huge, capacityBytes: 100, folder, persistent: false });
  expect(cache.counts().capacityBytes).toBe(100);
  cache.setCapacityBytes(2 ** 49);
  cache.beginEpoch();
  expect(cache.counts().capacityBytes).toBeGreaterThan(100);
  expect(cache.counts().capacityBytes).toBeLessThan(2 ** 49);
  cache.setCapacityBytes(50);
  cache.beginEpoch();
  expect(cache.counts().capacityBytes).toBe(50);
  using less = new MinioCache({ source: huge, capacityBytes: 2 ** 49, folder, orLess: true });
  expect(less.counts().capacityBytes).toBeLessThan(2 ** 49);
});
