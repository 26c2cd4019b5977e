/**
 * Servers that train one model together, each with a disk of its own and a part of the cache (CoorDL §4.2, partitioned
 * caching): every miss from the own disk, against a cache over the servers. Servers are network namespaces with real
 * stores in them; disks are real reads held to a speed per server, or emulated.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { MillraceError } from "@millrace/core";
import { ControlGroup, ServerNamespaces } from "@millrace/system";
import { entryOverheadBytes } from "../peers/ownership.ts";
import { openFolder } from "../source/folder.ts";
import type { StorageModel } from "../storage/emulated-storage.ts";
import { type Bounds, type StorageUsed, throttle } from "./bounds.ts";
import { JobProcess } from "./job-process.ts";
import { aheadBatches, type EpochReport, type JobSpec } from "./job-protocol.ts";
import { withMany } from "./many.ts";

export interface PartitionedExperimentOptions {
  readonly dataset: string;
  /** Numbers of servers. */
  readonly servers: readonly number[];
  readonly epochs: number;
  /** Disk of each server. */
  readonly storage: StorageModel;
  readonly bounds: Bounds;
  /** none: fetching alone; image: with preparation, on the cores that all servers share here. */
  readonly prep: JobSpec["prep"];
  readonly store: "redis" | "memcached";
  /** Speed of each server's link, bits per second; default that of the machine. */
  readonly linkBitsPerSecond?: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** Epochs of all servers together; an epoch is over when the slowest server is. */
export interface ServersRun {
  readonly epochSeconds: readonly number[];
  readonly samplesPerSecond: number;
  /** Bytes per epoch from the disks of all servers, largest over the epochs. */
  readonly storageBytes: number;
  readonly coreMsPerSample: number;
}

export interface PartitionedRow {
  readonly servers: number;
  readonly prep: JobSpec["prep"];
  readonly storage: StorageUsed;
  /** Every item from the server's disk. */
  readonly alone: ServersRun;
  /** The first epoch fills the stores and is not among these. */
  readonly partitioned: ServersRun;
  /** Time of an epoch alone over time of an epoch with the cache. */
  readonly ratio: number;
}

export async function runPartitionedExperiment(
  options: PartitionedExperimentOptions,
): Promise<readonly PartitionedRow[]> {
  const rows: PartitionedRow[] = [];
  const total = 2 * options.servers.length;
  for (const count of options.servers) {
    using net = new ServerNamespaces(`mr${process.pid % 10_000}`, count, options.linkBitsPerSecond);
    options.onProgress?.(2 * rows.length, total, `${count} servers, from disk`);
    const alone = await runServers(options, net, []);
    options.onProgress?.(2 * rows.length + 1, total, `${count} servers, cache over all`);
    const stores = await startStores(options.store, net);
    try {
      const source = openFolder(options.dataset);
      // Room for a share with the spread that hashing leaves.
      const whole = source.totalBytes + source.length * entryOverheadBytes;
      const bytes = Math.ceil((1.15 * whole) / count);
      const members = net.servers.map(({ name, address }) => ({
        name,
        bytes,
        url: `${options.store}://${address}:${storePort}`,
      }));
      const partitioned = await runServers(options, net, members);
      const seconds = (run: ServersRun) => mean(run.epochSeconds);
      rows.push({
        servers: count,
        prep: options.prep,
        storage: { ...options.storage, kind: throttled(options) ? "throttled" : "emulated" },
        alone,
        partitioned,
        ratio: seconds(alone) / seconds(partitioned),
      });
    } finally {
      for (const store of stores) {
        store.kill("SIGKILL");
        await once(store, "exit");
      }
    }
  }
  options.onProgress?.(total, total, "done");
  return rows;
}

const storePort = 7379;
const mean = (values: readonly number[]): number =>
  values.reduce((a, b) => a + b, 0) / values.length;
const throttled = ({ bounds }: PartitionedExperimentOptions): boolean => bounds.device !== null;

/** One job per server, in step; the first epoch at full speed, since it is the same for both. */
async function runServers(
  options: PartitionedExperimentOptions,
  net: ServerNamespaces,
  members: NonNullable<JobSpec["members"]>,
): Promise<ServersRun> {
  return await withMany<ControlGroup, ServersRun>((groups) =>
    withMany<JobProcess, ServersRun>((jobs) => runRanks(options, net, members, groups, jobs)),
  );
}

/** Groups are removed after the jobs in them have ended. */
async function runRanks(
  options: PartitionedExperimentOptions,
  net: ServerNamespaces,
  members: NonNullable<JobSpec["members"]>,
  groups: ControlGroup[],
  jobs: JobProcess[],
): Promise<ServersRun> {
  const { dataset, prep, seed, storage, bounds } = options;
  const world = net.servers.length;
  for (let rank = 0; rank < world; rank++) {
    const spec: JobSpec = {
      dataset: { path: dataset, kind: "folder" },
      prep,
      batchSize: 32,
      workers: 1,
      inFlight: 16,
      seed,
      cache: "none",
      cacheBytes: 0,
      shuffle: true,
      rank,
      world,
      members,
      ...(!throttled(options) && { storage: { bytesPerSecond: 1e15 } }),
    };
    const group = throttled(options)
      ? ControlGroup.make(`millrace-server-${process.pid}-${rank}`, ["io"])
      : null;
    if (group !== null) groups.push(group);
    const prefix = net.command(rank, []);
    jobs.push(await JobProcess.start(spec, { prefix, ...(group && { group }) }));
  }
  const epoch = async (): Promise<readonly EpochReport[]> => {
    options.signal?.throwIfAborted();
    return await Promise.all(jobs.map((job) => job.epoch(Number.POSITIVE_INFINITY)));
  };
  await epoch();
  if (bounds.device !== null) for (const group of groups) throttle(group, bounds.device, storage);
  const slower = throttled(options) ? undefined : storage;
  await Promise.all(jobs.map((job) => job.warm(aheadBatches, slower)));
  const all: (readonly EpochReport[])[] = [];
  for (let i = 0; i < options.epochs; i++) all.push(await epoch());
  const sum = (reports: readonly EpochReport[], pick: (report: EpochReport) => number) =>
    reports.reduce((total, report) => total + pick(report), 0);
  const items = jobs[0]?.items ?? 0;
  // The first is short by the warm-up: all are scaled to whole epochs; the slowest server ends each.
  const seconds = all.map(
    (reports) =>
      (Math.max(...reports.map((r) => r.seconds)) * items) / sum(reports, (r) => r.samples),
  );
  const samples = all.reduce((total, reports) => total + sum(reports, (r) => r.samples), 0);
  return {
    epochSeconds: seconds,
    samplesPerSecond: items / mean(seconds),
    storageBytes: Math.max(...all.map((reports) => sum(reports, (r) => r.storageBytes))),
    coreMsPerSample:
      (1e3 * all.reduce((total, reports) => total + sum(reports, (r) => r.coreSeconds), 0)) /
      samples,
  };
}

/** A store per server, in its namespace. Throws MillraceError ENVIRONMENT_MISSING when it is not installed. */
async function startStores(
  kind: "redis" | "memcached",
  net: ServerNamespaces,
): Promise<readonly ChildProcess[]> {
  const started: ChildProcess[] = [];
  try {
    for (const [i, { address }] of net.servers.entries()) {
      const program =
        kind === "redis"
          ? `redis-server --bind ${address} --port ${storePort} --protected-mode no --save  --appendonly no --maxmemory-policy noeviction`
          : `memcached -l ${address} -p ${storePort} -U 0 -M -I 16m -m 65536 -u root -vv`;
      const words = program.split(" ");
      const command = net.command(i, words);
      const child = spawn(command[0] as string, command.slice(1), {
        stdio: ["ignore", "pipe", "pipe"],
      });
      started.push(child);
      await listening(child, words[0] as string);
    }
    return started;
  } catch (error) {
    for (const child of started) child.kill("SIGKILL");
    throw error;
  }
}

function listening(child: ChildProcess, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = "";
    const hear = (chunk: Buffer): void => {
      if (said.length < 1e5) said += chunk;
      if (/Ready to accept connections|server listening/.test(said)) resolve();
    };
    child.stdout?.on("data", hear);
    child.stderr?.on("data", hear);
    child.once("exit", () =>
      reject(
        new MillraceError(
          "ENVIRONMENT_MISSING",
          `${name} could not start: ${said.trim().slice(-300)}`,
          {
            hint: "apt-get install redis-server, or choose the store memcached",
          },
        ),
      ),
    );
  });
}
