/** The process of one job: opens what it is told, runs epochs when asked, reports each. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { InvariantError, MillraceError } from "@millrace/core";
import type { BatchSource } from "@millrace/core/job";
import { sharedFolder, storageBytesRead } from "@millrace/system";
import type { Batch } from "../batch/batch.ts";
import type { ByteCache } from "../cache/byte-cache.ts";
import { MinioCache } from "../cache/minio-cache.ts";
import { NoCache } from "../cache/no-cache.ts";
import { CoordinatedSource } from "../daemon/client.ts";
import { FileReader } from "../fetch/file-reader.ts";
import type { StorageReader } from "../fetch/storage-reader.ts";
import { DataLoader } from "../loader/loader.ts";
import { PartitionedReader } from "../peers/partitioned-reader.ts";
import { openPeerStore } from "../peers/peer-store.ts";
import type { TransformSpec } from "../prep/transform.ts";
import { openSource } from "../source/open.ts";
import type { Source } from "../source/source.ts";
import { EmulatedStorage } from "../storage/emulated-storage.ts";
import { measureStorage, type StorageRate } from "../storage/measure-storage.ts";
import { Accelerator } from "./accelerator.ts";
import type { EpochReport, FromJob, JobSpec, ToJob } from "./job-protocol.ts";
import { LruCache } from "./lru-cache.ts";
import { subsetSource } from "./subset.ts";

interface OpenJob {
  readonly source: Source;
  readonly batches: BatchSource<Batch>;
  readonly accelerator: Accelerator<Batch>;
  readonly cache: ByteCache;
  readonly reader: StorageReader;
  readonly emulated: EmulatedStorage | null;
  readonly partitioned: PartitionedReader | null;
  epoch: number;
}

let job: OpenJob | null = null;

async function open(spec: JobSpec): Promise<FromJob> {
  const whole = await openSource(spec.dataset);
  const source = subsetSource(whole, spec.items ?? whole.length, spec.seed);
  const cache = cacheOf(spec, source);
  const files = new FileReader({ mode: spec.cache === "page-cache" ? "cached" : "direct" });
  const emulated = spec.storage === undefined ? null : new EmulatedStorage(files, spec.storage);
  const storage = emulated ?? files;
  const members = await Promise.all(
    (spec.members ?? []).map(async ({ name, bytes, url }) => ({
      name,
      bytes,
      store: await openPeerStore({ url }),
    })),
  );
  const partitioned =
    members.length === 0 ? null : new PartitionedReader({ source, members, storage });
  const reader = partitioned ?? storage;
  const batches = await batchesOf(spec, source, cache, reader);
  job = {
    source,
    batches,
    accelerator: new Accelerator(batches),
    cache,
    reader,
    emulated,
    partitioned,
    epoch: 0,
  };
  return { kind: "ready", items: source.length, datasetBytes: source.totalBytes };
}

async function batchesOf(
  spec: JobSpec,
  source: Source,
  cache: ByteCache,
  reader: StorageReader,
): Promise<BatchSource<Batch>> {
  if (spec.service !== undefined) return await CoordinatedSource.join({ socket: spec.service });
  return new DataLoader({
    source,
    transform: transformOf(spec),
    batchSize: spec.batchSize,
    seed: spec.seed,
    shuffle: spec.shuffle,
    workers: spec.workers,
    inFlight: spec.inFlight,
    ...(spec.rank !== undefined && { rank: spec.rank }),
    ...(spec.world !== undefined && { world: spec.world }),
    cache,
    reader,
    // Small enough to be in use as a whole from the start: memory that grows later would count against a bound.
    arenaBytes: 16 << 20,
    // Two on loan (computing and queued), the others being prepared.
    slots: 6,
    ahead: 6,
  });
}

function cacheOf(spec: JobSpec, source: Source): ByteCache {
  const { cache, cacheBytes } = spec;
  if (cache === "lru") return new LruCache(cacheBytes, source.length);
  if (cache !== "minio" || cacheBytes === 0) return new NoCache();
  return new MinioCache({
    source,
    capacityBytes: cacheBytes,
    folder: scratchFolder(),
    persistent: false,
  });
}

/** Caches of this process alone, beside those of real jobs; what killed experiments left is removed on the way. */
function scratchFolder(): string {
  const shared = sharedFolder();
  for (const name of readdirSync(shared)) {
    const pid = Number(/^experiment-(\d+)$/.exec(name)?.[1] ?? Number.NaN);
    if (!Number.isNaN(pid) && !existsSync(`/proc/${pid}`))
      rmSync(join(shared, name), { recursive: true, force: true });
  }
  return join(shared, `experiment-${process.pid}`);
}

const touch = new URL(
  import.meta.url.endsWith(".ts") ? "./touch.ts" : "./touch.js",
  import.meta.url,
).href;

function transformOf({ prep }: JobSpec): TransformSpec {
  return prep === "image"
    ? { kind: "image", size: 224, mode: "train", type: "f32", layout: "nchw" }
    : { kind: "module", url: touch, output: { type: "u8", shape: [1] } };
}

async function epoch(samplesPerSecond: number): Promise<FromJob> {
  if (job === null) throw new InvariantError("no job is open");
  const { accelerator, cache, reader, partitioned } = job;
  const before = { storage: reader.counts().storageBytes, ...cache.counts() };
  const kernel = storageBytesRead();
  const cpu = process.cpuUsage();
  const times = await accelerator.epoch(samplesPerSecond);
  const { user, system } = process.cpuUsage(cpu);
  const after = cache.counts();
  const report: EpochReport = {
    ...times,
    epoch: job.epoch++,
    storageBytes: reader.counts().storageBytes - before.storage,
    kernelReadBytes: storageBytesRead() - kernel,
    hits: after.hits - before.hits,
    misses: after.misses - before.misses,
    coreSeconds: (user + system) / 1e6,
    cacheUsedBytes: after.usedBytes,
    members: partitioned?.members() ?? [],
  };
  return { kind: "epoch", report };
}

async function warm(count: number, storage: JobSpec["storage"]): Promise<FromJob> {
  if (job === null) throw new InvariantError("no job is open");
  if (storage !== undefined) job.emulated?.setModel(storage);
  for (let i = 0; i < count; i++) (await job.batches.next())?.release();
  return { kind: "warmed" };
}

async function storage({ patterns, seconds }: ToJob & { kind: "storage" }): Promise<FromJob> {
  if (job === null) throw new InvariantError("no job is open");
  const rates: StorageRate[] = [];
  for (const pattern of patterns) {
    const rate = await measureStorage(job.source, job.reader, pattern, {
      seconds,
      seed: rates.length,
    });
    if (rate !== null) rates.push(rate);
  }
  return { kind: "storage", rates };
}

async function close(): Promise<void> {
  if (job === null) return;
  const { accelerator, batches, cache, reader } = job;
  job = null;
  accelerator.stop();
  await batches[Symbol.asyncDispose]();
  cache[Symbol.dispose]();
  await reader[Symbol.asyncDispose]();
  rmSync(scratchFolder(), { recursive: true, force: true });
}

async function answer(message: ToJob): Promise<FromJob | null> {
  switch (message.kind) {
    case "open":
      return await open(message.spec);
    case "warm":
      return await warm(message.batches, message.storage);
    case "epoch":
      return await epoch(message.samplesPerSecond);
    case "storage":
      return await storage(message);
    case "close":
      await close();
      process.disconnect();
      return null;
  }
}

if (process.send !== undefined) {
  // A parent that is gone hears nothing: the channel's end ends this process.
  const say = (reply: FromJob): void => {
    process.send?.(reply, undefined, {}, () => {});
  };
  process.on("message", (message: ToJob) => {
    answer(message).then(
      (reply) => reply !== null && say(reply),
      (error: unknown) => {
        const failed: FromJob = {
          kind: "failed",
          message: error instanceof Error ? error.message : String(error),
          ...(error instanceof MillraceError && error.hint !== undefined && { hint: error.hint }),
        };
        say(failed);
      },
    );
  });
  // A parent that is gone wants no result; memory that is shared must not stay.
  process.on("disconnect", () => {
    void close().finally(() => process.exit());
  });
}
