/**
 * Servers that train one model together, each with a disk of its own and a part of the cache (CoorDL §4.2, partitioned
 * caching): every miss from the own disk, against a cache over the servers. Servers are network namespaces with real
 * stores in them; disks are real reads held to a speed per server, or emulated.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { ControlGroup, machineTime, processCoreSeconds, ServerNamespaces } from "@millrace/system";
import { evenBytes } from "../peers/ownership.ts";
import { openFolder } from "../source/folder.ts";
import type { StorageModel } from "../storage/emulated-storage.ts";
import { type Bounds, type StorageUsed, throttle } from "./bounds.ts";
import { JobProcess } from "./job-process.ts";
import { aheadBatches, type EpochReport, type JobSpec } from "./job-protocol.ts";
import { withMany } from "./many.ts";
import { startStores, storePort } from "./stores.ts";

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
  /** From memory an epoch is over in a fraction of a second: so long until compilers are warm, default 3 s. */
  readonly settleSeconds?: number;
  /** So much of epochs per figure at least, default 1 s. */
  readonly leastSeconds?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** Epochs of all servers together; an epoch is over when the slowest server is. */
export interface ServersRun {
  readonly epochSeconds: readonly number[];
  readonly samplesPerSecond: number;
  /** Bytes per epoch from the disks of all servers, largest over the epochs. */
  readonly storageBytes: number;
  /** CPU per sample of the jobs' processes, of the stores, and of the whole machine (with its network). */
  readonly coreMsPerSample: number;
  readonly storeMsPerSample: number;
  readonly machineMsPerSample: number;
  /** Share of all cores that was busy, 0 … 1. Near 1 it is this machine that bounds the servers it plays. */
  readonly coresBusy: number;
  /** Share of the waiting that was for preparation, by the loaders' account; the rest was for items. */
  readonly prepShare: number;
}

export interface PartitionedRow {
  readonly servers: number;
  readonly prep: JobSpec["prep"];
  readonly store: "redis" | "memcached";
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
    const alone = await runServers(options, net, [], []);
    options.onProgress?.(2 * rows.length + 1, total, `${count} servers, cache over all`);
    const stores = await startStores(options.store, net);
    try {
      const source = openFolder(options.dataset);
      const bytes = evenBytes(source, count);
      const members = net.servers.map(({ name, address }) => ({
        name,
        bytes,
        url: `${options.store}://${address}:${storePort}`,
      }));
      const partitioned = await runServers(options, net, members, stores);
      const seconds = (run: ServersRun) => mean(run.epochSeconds);
      rows.push({
        servers: count,
        prep: options.prep,
        store: options.store,
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

const mean = (values: readonly number[]): number =>
  values.reduce((a, b) => a + b, 0) / values.length;
const throttled = ({ bounds }: PartitionedExperimentOptions): boolean => bounds.device !== null;

/** One job per server, in step; the first epoch at full speed, since it is the same for both. */
async function runServers(
  options: PartitionedExperimentOptions,
  net: ServerNamespaces,
  members: NonNullable<JobSpec["members"]>,
  stores: readonly ChildProcess[],
): Promise<ServersRun> {
  return await withMany<ControlGroup, ServersRun>((groups) =>
    withMany<JobProcess, ServersRun>(async (jobs) => {
      await startRanks(options, net, members, groups, jobs);
      return await measureRanks(options, groups, jobs, stores);
    }),
  );
}

/** Groups are removed after the jobs in them have ended. */
async function startRanks(
  options: PartitionedExperimentOptions,
  net: ServerNamespaces,
  members: NonNullable<JobSpec["members"]>,
  groups: ControlGroup[],
  jobs: JobProcess[],
): Promise<void> {
  const { dataset, prep, seed } = options;
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
}

async function measureRanks(
  options: PartitionedExperimentOptions,
  groups: readonly ControlGroup[],
  jobs: readonly JobProcess[],
  stores: readonly ChildProcess[],
): Promise<ServersRun> {
  const { storage, bounds, settleSeconds = 3, leastSeconds = 1 } = options;
  const epoch = async (): Promise<readonly EpochReport[]> => {
    options.signal?.throwIfAborted();
    return await Promise.all(jobs.map((job) => job.epoch(Number.POSITIVE_INFINITY)));
  };
  await epoch();
  if (bounds.device !== null) for (const group of groups) throttle(group, bounds.device, storage);
  const slower = throttled(options) ? undefined : storage;
  const cached = stores.length > 0;
  await Promise.all(jobs.map((job) => job.warm(cached ? 0 : aheadBatches, slower)));
  for (const until = performance.now() + 1e3 * settleSeconds; cached && performance.now() < until; )
    await epoch();
  const items = jobs[0]?.items ?? 0;
  const cpu = new CpuAccount(stores);
  const reports: EpochReport[] = [];
  const seconds: number[] = [];
  let storageBytes = 0;
  for (let i = 0; i < options.epochs; i++) {
    let spent = 0;
    let samples = 0;
    do {
      const ranks = await epoch();
      // The slowest server ends an epoch.
      spent += Math.max(...ranks.map((r) => r.seconds));
      samples += sum(ranks, (r) => r.samples);
      storageBytes = Math.max(
        storageBytes,
        sum(ranks, (r) => r.storageBytes),
      );
      reports.push(...ranks);
    } while (spent < leastSeconds);
    // From disk the first is short by the warm-up: all are scaled to whole epochs.
    seconds.push((spent * items) / samples);
  }
  const samples = sum(reports, (r) => r.samples);
  const waits = sum(reports, (r) => r.prepWaitSeconds + r.fetchWaitSeconds);
  return {
    epochSeconds: seconds,
    samplesPerSecond: items / mean(seconds),
    storageBytes,
    coreMsPerSample: (1e3 * sum(reports, (r) => r.coreSeconds)) / samples,
    ...cpu.perSample(samples),
    prepShare: waits > 0 ? sum(reports, (r) => r.prepWaitSeconds) / waits : 0,
  };
}

function sum<T>(values: readonly T[], pick: (value: T) => number): number {
  return values.reduce((total, value) => total + pick(value), 0);
}

/** CPU time from its making on. */
class CpuAccount {
  private readonly stores: readonly ChildProcess[];
  private readonly storesBefore: number;
  private readonly before = machineTime();

  constructor(stores: readonly ChildProcess[]) {
    this.stores = stores;
    this.storesBefore = this.storeSeconds();
  }

  perSample(
    samples: number,
  ): Pick<ServersRun, "storeMsPerSample" | "machineMsPerSample" | "coresBusy"> {
    const now = machineTime();
    const busy = (now?.busySeconds ?? Number.NaN) - (this.before?.busySeconds ?? 0);
    const all = (now?.allSeconds ?? Number.NaN) - (this.before?.allSeconds ?? 0);
    return {
      storeMsPerSample: (1e3 * (this.storeSeconds() - this.storesBefore)) / samples,
      machineMsPerSample: (1e3 * busy) / samples,
      coresBusy: busy / all,
    };
  }

  private storeSeconds(): number {
    return sum(this.stores, ({ pid }) => (pid === undefined ? 0 : processCoreSeconds(pid)));
  }
}
