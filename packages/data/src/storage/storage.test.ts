import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VirtualClock } from "@millrace/core";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { FileReader } from "../fetch/file-reader.ts";
import type { StorageReader } from "../fetch/storage-reader.ts";
import { openFolder } from "../source/folder.ts";
import { EmulatedStorage, parseStorageModel, storageModels } from "./emulated-storage.ts";
import { measureStorage } from "./measure-storage.ts";

const dir = mkdtempSync(join(tmpdir(), "millrace-storage-"));
afterAll(() => rmSync(dir, { recursive: true }));
mkdirSync(join(dir, "a"));
for (let i = 0; i < 20; i++)
  writeFileSync(join(dir, "a", `${i}.jpg`), Buffer.alloc(10_000 + 5000 * i, i));
const source = openFolder(dir);

/** A reader of rooms alone: answers at once. */
const instant: StorageReader = {
  name: "instant",
  room: ({ bytes }) => bytes,
  read: async () => ({ start: 0, storageBytes: 0 }),
  counts: () => ({ reads: 0, bytes: 0, storageBytes: 0, retries: 0, failures: 0 }),
  [Symbol.asyncDispose]: async () => {},
};

it("emulated storage takes the time that the model says, however many reads are in flight", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 1_000_000 }), { minLength: 1, maxLength: 50 }),
      fc.integer({ min: 1, max: 8 }),
      fc.double({ min: 0, max: 0.01, noNaN: true }),
      async (sizes, depth, latencySeconds) => {
        const clock = new VirtualClock();
        const waiting: { due: number; wake: () => void }[] = [];
        const storage = new EmulatedStorage(
          instant,
          { bytesPerSecond: 1e6, operationsPerSecond: 100, latencySeconds },
          clock,
          (seconds) => new Promise((wake) => waiting.push({ due: clock.now() + seconds, wake })),
        );
        const queue = [...sizes];
        let running = depth;
        const work = async (): Promise<void> => {
          for (let bytes = queue.shift(); bytes !== undefined; bytes = queue.shift())
            await storage.read(
              { item: 0, key: [0, 0], extent: { path: "", offset: 0, bytes } },
              new Uint8Array(),
            );
          running--;
        };
        const done = Promise.all(Array.from({ length: depth }, work));
        // The clock goes on when nothing more can happen at this time.
        for (let quiet = 0; running > 0; quiet++) {
          await Promise.resolve();
          if (quiet < 20 || waiting.length === 0) continue;
          quiet = 0;
          waiting.sort((a, b) => a.due - b.due);
          const next = waiting.shift() as { due: number; wake: () => void };
          clock.advanceTo(Math.max(clock.now(), next.due));
          next.wake();
        }
        await done;
        const busy = sizes.reduce((sum, bytes) => sum + Math.max(bytes / 1e6, 0.01), 0);
        // What an idle device may make up for, once per wait of a reader for its latency.
        expect(clock.now()).toBeLessThanOrEqual(busy + latencySeconds * sizes.length + 1e-9);
        expect(clock.now()).toBeGreaterThanOrEqual(busy - 0.02 - 1e-9);
      },
    ),
  );
});

it("models are read by name and by numbers, and refused otherwise", () => {
  expect(parseStorageModel("hdd")).toBe(storageModels.hdd);
  expect(parseStorageModel("60MB/s")).toEqual({ bytesPerSecond: 60e6 });
  expect(parseStorageModel("1.5GB/s, 3kiops, 700us")).toEqual({
    bytesPerSecond: 1.5e9,
    operationsPerSecond: 3000,
    latencySeconds: 700e-6,
  });
  for (const bad of ["", "fast", "60", "60MB", "0MB/s", "60MB/s,x", "10ms", "1.2.3MB/s"])
    expect(() => parseStorageModel(bad)).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID" }),
    );
  expect(() => new EmulatedStorage(instant, { bytesPerSecond: 0 })).toThrow(/no storage/);
});

it("measuring reads whole items once, or ranges where files are large enough", async () => {
  await using reader = new FileReader();
  const items = await measureStorage(source, reader, { size: "items", depth: 4 }, { seconds: 30 });
  expect(items).toMatchObject({ reads: 20, bytes: source.totalBytes });
  expect(items?.storageBytes).toBeGreaterThanOrEqual(source.totalBytes);
  expect(items?.bytesPerSecond).toBeCloseTo(source.totalBytes / (items?.seconds ?? 1), 3);
  const ranges = await measureStorage(
    source,
    reader,
    { size: 65_536, depth: 2 },
    { seconds: 30, reads: 9 },
  );
  expect(ranges).toMatchObject({ reads: 9, bytes: 9 * 65_536 });
  expect(await measureStorage(source, reader, { size: 1 << 20, depth: 1 })).toBeNull();
});
