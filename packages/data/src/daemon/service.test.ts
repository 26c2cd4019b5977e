import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SourceState } from "@millrace/core/job";
import { batchSourceConformance } from "@millrace/core/job/conformance";
import { sharedFolder } from "@millrace/system";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Batch } from "../batch/batch.ts";
import { DataLoader } from "../loader/loader.ts";
import type { ImageTransformSpec } from "../prep/transform.ts";
import { openFolder } from "../source/folder.ts";
import { makeJpegSet } from "../synthetic/jpeg-set.ts";
import { CoordinatedSource } from "./client.ts";
import type { DataService } from "./service.ts";
import type { ServiceOptions } from "./service-options.ts";
import { startService } from "./start-service.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-service-"));
const shared = mkdtempSync(join(sharedFolder(), "test-"));
const count = 50;
const batchSize = 4;
const perEpoch = Math.ceil(count / batchSize);
const transform: ImageTransformSpec = {
  kind: "image",
  size: 16,
  mode: "train",
  type: "u8",
  layout: "nchw",
};
makeJpegSet(folder, { count, classes: 5, width: 48 });
afterAll(() => {
  rmSync(folder, { recursive: true });
  rmSync(shared, { recursive: true });
});

let sockets = 0;
const options = (more: Partial<ServiceOptions> = {}): ServiceOptions => ({
  source: { path: folder },
  transform,
  batchSize,
  producers: 1,
  socket: join(shared, `socket-${sockets++}`),
  sharedFolder: shared,
  cacheBytes: 60_000,
  cacheFolder: join(shared, "cache"),
  ...more,
});

const print = ({ data, labels, items, epoch }: Batch): string =>
  `${epoch}: ${items.join()} ${labels.join()} ${Buffer.from(data).toString("base64")}`;

function hashOf({ data, labels, items, epoch, position }: Batch): string {
  const hash = createHash("sha1");
  for (const part of [data, labels, items])
    hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  return `${epoch} ${position} ${hash.digest("hex")}`;
}

/** What a job of its own would see from a place on: the reference for everything the service hands out. */
async function alone(at: SourceState, batches: number): Promise<string[]> {
  await using loader = new DataLoader({
    source: openFolder(folder),
    transform,
    batchSize,
    workers: 1,
  });
  loader.seek(at);
  return await take(loader, batches);
}

async function take(source: DataLoader | CoordinatedSource, batches: number): Promise<string[]> {
  const seen: string[] = [];
  while (seen.length < batches) {
    const loan = await source.next();
    if (loan === null) continue;
    seen.push(hashOf(loan.batch));
    loan.release();
  }
  return seen;
}

describe("one service", () => {
  let service: DataService;
  beforeAll(async () => {
    service = await startService(options({ stagingBytes: 2 ** 17, detachSeconds: 0.2 }));
  });
  afterAll(async () => {
    await service[Symbol.asyncDispose]();
    expect(readdirSync(shared).filter((name) => name.startsWith("ring-"))).toEqual([]);
    expect(existsSync(service.socket)).toBe(false);
  });

  batchSourceConformance("CoordinatedSource", {
    make: (seed) =>
      CoordinatedSource.join({ socket: service.socket, at: { seed, epoch: 0, position: 0 } }),
    length: count,
    print,
    items: ({ items }) => [...items],
  });

  test("hands out what a loader of one's own would, once to every job, prepared once", async () => {
    const at = { seed: 11, epoch: 0, position: 0 };
    const reference = await alone(at, 2 * perEpoch);
    const before = service.status().prepared;
    const jobs = await Promise.all(
      [0, 1, 2].map(() => CoordinatedSource.join({ socket: service.socket, at })),
    );
    const seen = await Promise.all(jobs.map((job) => take(job, 2 * perEpoch)));
    for (const one of seen) expect(one).toEqual(reference);
    const { slots } = service.ring.layout;
    expect(service.status().prepared - before).toBeLessThanOrEqual(2 * perEpoch + slots);
    // One that comes late is given the same, from its own place on.
    const late = await CoordinatedSource.join({
      socket: service.socket,
      at: { seed: 11, epoch: 0, position: 8 },
    });
    expect(await take(late, perEpoch)).toEqual(reference.slice(2, 2 + perEpoch));
    for (const job of [...jobs, late]) await job[Symbol.asyncDispose]();
  });

  test("refuses jobs that count on something else, and nonsense, with a reason", async () => {
    const { socket } = service;
    await expect(CoordinatedSource.join({ socket, expect: { batchSize: 5 } })).rejects.toThrow(
      /the job's batch size is 5, the service's 4/,
    );
    await expect(
      CoordinatedSource.join({ socket, at: { seed: 0, epoch: 0, position: 3 } }),
    ).rejects.toThrow(/position 3 with seed 0 is no border of batches of 4/);
    await expect(CoordinatedSource.join({ socket: `${socket}-none` })).rejects.toMatchObject({
      code: "DATA_SERVICE_FAILED",
    });
    for (const line of ["nonsense\n", '{"kind":"used"}\n', "[]\n"]) {
      const reply = await new Promise<string>((resolve) => {
        const raw = connect(socket, () => raw.write(line));
        raw.on("data", (chunk) => resolve(chunk.toString()));
      });
      expect(JSON.parse(reply)).toMatchObject({ kind: "refused" });
    }
  });

  test("is for one user alone, and one service listens on a socket", async () => {
    expect(statSync(service.socket).mode & 0o777).toBe(0o600);
    await expect(startService(options({ socket: service.socket }))).rejects.toThrow(
      /a service listens on .* already/,
    );
  });

  test("a smaller cache counts from the next epoch on", async () => {
    await using job = await CoordinatedSource.join({
      socket: service.socket,
      at: { seed: 12, epoch: 0, position: 0 },
    });
    const reference = await alone({ seed: 12, epoch: 0, position: 0 }, 2 * perEpoch);
    job.setCacheBytes(10_000);
    expect(await take(job, 2 * perEpoch)).toEqual(reference);
    expect(service.status().producers).toBe(1);
  });
});

test("producers that are ended whenever they start end nothing else while one works", async () => {
  await using service = await startService(options({ producers: 2 }));
  const at = { seed: 13, epoch: 0, position: 0 };
  await using job = await CoordinatedSource.join({ socket: service.socket, at });
  const seen = await take(job, perEpoch);
  while (service.producerPids(true).length < 2) await new Promise(setImmediate);
  const known = new Set(service.producerPids());
  process.kill([...known][0] as number, "SIGKILL");
  for (let starts = 0; starts < 6; ) {
    const started = service.producerPids().find((pid) => !known.has(pid));
    if (started === undefined) {
      await new Promise(setImmediate);
      continue;
    }
    known.add(started);
    process.kill(started, "SIGKILL");
    starts++;
  }
  seen.push(...(await take(job, perEpoch)));
  expect(seen).toEqual(await alone(at, 2 * perEpoch));
});

test("a ring that is too large is refused before anything is there", async () => {
  await expect(startService(options({ stagingBytes: 2 ** 45 }))).rejects.toMatchObject({
    code: "SHARED_MEMORY_FULL",
  });
  await expect(startService(options({ stagingBytes: 5000 }))).rejects.toThrow(
    /holds less than two batches/,
  );
  expect(readdirSync(shared).filter((name) => name.startsWith("ring-"))).toEqual([]);
});
