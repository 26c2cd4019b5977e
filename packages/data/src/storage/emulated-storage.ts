/**
 * Storage layers: a slower storage than the machine has, emulated in front of any reader, and the measurement of what a
 * real one gives. Whatever runs on emulated storage says so in its results: it shows the arithmetic of a device, not its
 * queueing.
 */
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { type Clock, MillraceError, WallClock } from "@millrace/core";
import type {
  ReadCounts,
  ReadRequest,
  ReadResult,
  StorageReader,
} from "../fetch/storage-reader.ts";
import type { Extent } from "../source/source.ts";

/** A device as three numbers. */
export interface StorageModel {
  readonly bytesPerSecond: number;
  /** Reads per second; default without bound. */
  readonly operationsPerSecond?: number;
  /** Seconds until the first byte of a read, spent beside other reads; default 0. */
  readonly latencySeconds?: number;
}

/** Devices to compare with; the rates are for random reads of whole images (hard disk: CoorDL §3). */
export const storageModels = {
  hdd: { bytesPerSecond: 160e6, operationsPerSecond: 150, latencySeconds: 0 },
  "sata-ssd": { bytesPerSecond: 530e6, operationsPerSecond: 90e3, latencySeconds: 100e-6 },
  "nvme-ssd": { bytesPerSecond: 3e9, operationsPerSecond: 600e3, latencySeconds: 60e-6 },
  "cloud-disk": { bytesPerSecond: 125e6, operationsPerSecond: 3000, latencySeconds: 700e-6 },
} as const satisfies Readonly<Record<string, StorageModel>>;

/** Bytes per second of whole items of a mean size: the slower of the byte rate and the operation rate. */
export function effectiveRate(model: StorageModel, bytesPerItem: number): number {
  const { bytesPerSecond, operationsPerSecond = Number.POSITIVE_INFINITY } = model;
  return Math.min(bytesPerSecond, operationsPerSecond * bytesPerItem);
}

/** Idle time that a device may make up for afterwards, seconds: bounds bursts to what a queue would hide. */
const burstSeconds = 0.02;

/** Waits until a number of seconds have passed on the clock. */
export type Wait = (seconds: number, signal?: AbortSignal) => Promise<void>;

const waitByTimer: Wait = (seconds, signal) => {
  // One listener per read in flight is no leak.
  if (signal !== undefined) setMaxListeners(0, signal);
  return sleep(seconds * 1000, undefined, signal && { signal });
};

/**
 * A reader behind a device of the model. Reads queue for the device in the order they are asked for: each takes the
 * longer of its bytes over the rate and one operation; latency comes on top without occupying the device. The reader
 * behind must be faster, else it shows through.
 */
export class EmulatedStorage implements StorageReader {
  readonly name: string;
  private model: StorageModel;
  private readonly inner: StorageReader;
  private readonly clock: Clock;
  private readonly wait: Wait;
  /** When the device has done all that was asked of it. */
  private freeAt = Number.NEGATIVE_INFINITY;

  /** Takes over `inner` and closes it. Throws MillraceError CONFIG_INVALID for a model that never answers. */
  constructor(
    inner: StorageReader,
    model: StorageModel,
    clock: Clock = new WallClock(),
    wait: Wait = waitByTimer,
  ) {
    check(model);
    this.inner = inner;
    this.model = model;
    this.clock = clock;
    this.wait = wait;
    this.name = `emulated storage over ${inner.name}`;
  }

  /** Becomes another device; what is queued keeps its time. Throws like the constructor. */
  setModel(model: StorageModel): void {
    check(model);
    this.model = model;
  }

  room(extent: Extent): number {
    return this.inner.room(extent);
  }

  async read(request: ReadRequest, into: Uint8Array, signal?: AbortSignal): Promise<ReadResult> {
    signal?.throwIfAborted();
    const { bytesPerSecond, operationsPerSecond = Infinity, latencySeconds = 0 } = this.model;
    const now = this.clock.now();
    const bytes = this.inner.room(request.extent);
    const busy = Math.max(bytes / bytesPerSecond, 1 / operationsPerSecond);
    this.freeAt = Math.max(this.freeAt, now - burstSeconds) + busy;
    const due = this.freeAt + latencySeconds;
    const result = await this.inner.read(request, into, signal);
    const left = due - this.clock.now();
    if (left > 0) await this.wait(left, signal);
    return result;
  }

  counts(): ReadCounts {
    return this.inner.counts();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]();
  }
}

function check(model: StorageModel): void {
  const { bytesPerSecond, operationsPerSecond = Infinity, latencySeconds = 0 } = model;
  if (bytesPerSecond > 0 && operationsPerSecond > 0 && latencySeconds >= 0) return;
  throw new MillraceError("CONFIG_INVALID", `no storage is like ${JSON.stringify(model)}`, {
    hint: "rates are above 0, latency is at least 0",
  });
}

/**
 * A model by name (`hdd`), or as numbers: `60MB/s`, `60MB/s,150iops`, `125MB/s,3000iops,1ms`. Throws MillraceError
 * CONFIG_INVALID.
 */
export function parseStorageModel(text: string): StorageModel {
  const known = Object.entries(storageModels).find(([name]) => name === text);
  if (known !== undefined) return known[1];
  const fail = (): never => {
    throw new MillraceError("CONFIG_INVALID", `${JSON.stringify(text)} is no storage model`, {
      hint: `write 60MB/s, 60MB/s,150iops or 60MB/s,150iops,2ms, or one of ${Object.keys(storageModels).join(", ")}`,
    });
  };
  const units: Readonly<Record<string, number>> = { k: 1e3, m: 1e6, g: 1e9 };
  let bytesPerSecond: number | undefined;
  let operationsPerSecond: number | undefined;
  let latencySeconds: number | undefined;
  for (const part of text.toLowerCase().split(",")) {
    const rate = /^([\d.]+)\s*([kmg])b\/s$/.exec(part.trim());
    const operations = /^([\d.]+)\s*(k?)iops$/.exec(part.trim());
    const latency = /^([\d.]+)\s*(us|ms|s)$/.exec(part.trim());
    if (rate !== null) bytesPerSecond = Number(rate[1]) * (units[rate[2] as string] as number);
    else if (operations !== null)
      operationsPerSecond = Number(operations[1]) * (operations[2] === "k" ? 1e3 : 1);
    else if (latency !== null)
      latencySeconds = Number(latency[1]) * { us: 1e-6, ms: 1e-3, s: 1 }[latency[2] as "us"];
    else fail();
  }
  const rates = [bytesPerSecond ?? 1e15, operationsPerSecond ?? 1, latencySeconds ?? 0];
  if (bytesPerSecond === undefined && operationsPerSecond === undefined) return fail();
  if (!rates.every(Number.isFinite) || !(rates[0]! > 0 && rates[1]! > 0)) return fail();
  return {
    bytesPerSecond: bytesPerSecond ?? 1e15,
    ...(operationsPerSecond !== undefined && { operationsPerSecond }),
    ...(latencySeconds !== undefined && { latencySeconds }),
  };
}
