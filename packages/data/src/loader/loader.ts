/**
 * The data loader: batches in the order of seeded epochs, prepared ahead. What is ahead is planned (its misses are being
 * fetched), prepared (in a slot of shared memory) or on loan. CoorDL sections 4 and 5; state and resume are ours.
 */
import { availableParallelism } from "node:os";
import { InvariantError, MillraceError } from "@millrace/core";
import type { BatchSource, Loan, SourceState, StallReport } from "@millrace/core/job";
import { type Batch, type SampleSpec, sampleBytes, typedView } from "../batch/batch.ts";
import type { ByteCache } from "../cache/byte-cache.ts";
import { MinioCache } from "../cache/minio-cache.ts";
import { NoCache } from "../cache/no-cache.ts";
import { FileReader } from "../fetch/file-reader.ts";
import type { StorageReader } from "../fetch/storage-reader.ts";
import { outputSpec } from "../prep/make-transform.ts";
import type { TransformSpec } from "../prep/transform.ts";
import { Sampler } from "../sampler/sampler.ts";
import type { Source } from "../source/source.ts";
import type { BadSample, BadSamplePolicy } from "./bad-samples.ts";
import { Pipeline, type Planned, type Prepared } from "./pipeline.ts";

export interface LoaderOptions {
  readonly source: Source;
  readonly transform: TransformSpec;
  readonly batchSize: number;
  /** Default 0. */
  readonly seed?: number;
  /** Default true: a true global permutation per epoch. */
  readonly shuffle?: boolean;
  /** This consumer's share of every epoch; default 0 of 1. */
  readonly rank?: number;
  readonly world?: number;
  /** Leave out the short batch at an epoch's end. Default false. */
  readonly dropLast?: boolean;
  /** Preparation threads, default one per core. Batches do not depend on it. */
  readonly workers?: number;
  /** A cache, or the bytes of a MinIO cache in shared memory; default none. A cache that is given is not disposed. */
  readonly cache?: ByteCache | number;
  /** Default: files by direct input. A reader that is given is not disposed. */
  readonly reader?: StorageReader;
  /** Reads at once, default 8. */
  readonly inFlight?: number;
  /** Memory for items between storage and preparation, default 64 MiB. */
  readonly arenaBytes?: number;
  /** Batches whose misses are fetched ahead, default 8. */
  readonly ahead?: number;
  /** Slots for prepared batches, those on loan included; default 4, at least 2. */
  readonly slots?: number;
  /** Default fail. */
  readonly badSamples?: BadSamplePolicy;
}

interface Window {
  readonly planned: Planned;
  readonly place: SourceState;
  slot: number;
  result: Promise<Prepared> | null;
  prepared: Prepared | null;
}

/** See BatchSource for the contract. Throws MillraceError CONFIG_INVALID and SHARED_MEMORY_FULL from the constructor. */
export class DataLoader implements BatchSource<Batch> {
  readonly spec: SampleSpec;
  /** Samples that an epoch hands out. */
  readonly length: number;
  readonly cache: ByteCache;
  private readonly options: LoaderOptions;
  private readonly reader: StorageReader;
  private readonly sampler: Sampler;
  private readonly pipeline: Pipeline;
  private readonly memory: SharedArrayBuffer;
  private readonly slotBytes: number;
  private readonly freeSlots: number[] = [];
  /** Next to plan. */
  private cursor: SourceState;
  /** Next to hand out. */
  private place: SourceState;
  private window: Window[] = [];
  private atBorder = false;
  private resize = false;
  private generation = 0;
  private waker: (() => void) | null = null;
  private closed = false;
  private readonly totals = {
    batches: 0,
    samples: 0,
    waitSeconds: 0,
    fetchSeconds: 0,
    prepSeconds: 0,
  };

  constructor(options: LoaderOptions) {
    const {
      source,
      batchSize,
      slots = 4,
      rank = 0,
      world = 1,
      shuffle = true,
      cache = 0,
    } = options;
    for (const [name, value, least] of [
      ["batchSize", batchSize, 1],
      ["slots", slots, 2],
      ["workers", options.workers ?? 1, 1],
      ["inFlight", options.inFlight ?? 1, 1],
      ["ahead", options.ahead ?? 1, 1],
    ] as const)
      if (!Number.isSafeInteger(value) || value < least)
        throw new MillraceError(
          "CONFIG_INVALID",
          `${name} is ${value}, and must be at least ${least}`,
        );
    this.options = options;
    this.sampler = new Sampler({ length: source.length, shuffle, rank, world });
    const whole = Math.floor(this.sampler.length / batchSize) * batchSize;
    this.length = options.dropLast === true ? whole : this.sampler.length;
    if (this.length === 0)
      throw new MillraceError(
        "CONFIG_INVALID",
        `rank ${rank} of ${world} has no batch of ${batchSize} in ${source.length} samples`,
      );
    this.spec = outputSpec(options.transform);
    this.slotBytes = batchSize * sampleBytes(this.spec);
    this.memory = new SharedArrayBuffer(slots * this.slotBytes);
    for (let i = 0; i < slots; i++) this.freeSlots.push(i);
    this.cache =
      typeof cache !== "number"
        ? cache
        : cache > 0
          ? new MinioCache({ source, capacityBytes: cache })
          : new NoCache();
    this.reader = options.reader ?? new FileReader();
    this.pipeline = new Pipeline({
      source,
      transform: options.transform,
      cache: this.cache,
      reader: this.reader,
      workers: options.workers ?? availableParallelism(),
      inFlight: options.inFlight ?? 8,
      arenaBytes: options.arenaBytes ?? 64 * 2 ** 20,
      badSamples: options.badSamples ?? "fail",
      out: { kind: "buffer", buffer: this.memory },
    });
    this.place = { seed: options.seed ?? 0, epoch: 0, position: 0 };
    this.cursor = this.place;
    this.cache.beginEpoch(this.place.seed, this.place.epoch);
  }

  async next(signal?: AbortSignal): Promise<Loan<Batch> | null> {
    signal?.throwIfAborted();
    if (this.closed) throw new InvariantError("the loader was closed");
    for (;;) {
      const { seed, epoch, position } = this.place;
      if (position >= this.length) {
        this.place = { seed, epoch: epoch + 1, position: 0 };
        return null;
      }
      this.fill();
      const began = performance.now();
      const head = await this.head(signal);
      const prepared = head.prepared ?? (await waitFor(head.result as Promise<Prepared>, signal));
      this.account(began, prepared);
      this.window.shift();
      this.place = { seed, epoch, position: position + head.planned.items.length };
      if (prepared.samples > 0) return this.lend(head, prepared);
      this.freeSlots.push(head.slot);
    }
  }

  state(): SourceState {
    return this.place;
  }

  seek({ seed, epoch, position }: SourceState): void {
    if (!(position >= 0 && position <= this.length))
      throw new InvariantError(`position ${position} of an epoch of ${this.length} samples`);
    for (const { planned, slot, result } of this.window) {
      if (result === null) this.pipeline.discard(planned);
      // Threads still write to its slot: it is free when they are done.
      else result.catch(() => {}).finally(() => this.free(slot));
    }
    this.window = [];
    this.generation++;
    this.atBorder = false;
    this.place = { seed, epoch, position };
    this.cursor = this.place;
  }

  setCacheBytes(bytes: number): void {
    this.cache.setCapacityBytes(bytes);
    this.resize = true;
  }

  /** Preparation threads from now on, at least 1; batches do not depend on it. */
  setWorkers(count: number): void {
    if (!Number.isSafeInteger(count) || count < 1) throw new InvariantError(`${count} workers`);
    this.pipeline.setWorkers(count);
  }

  stalls(): StallReport {
    return { ...this.totals };
  }

  /** Samples that could not be used so far. */
  badSamples(): { readonly count: number; readonly named: readonly BadSample[] } {
    const { count, named } = this.pipeline.bad;
    return { count, named };
  }

  /** Preparation by this loader's threads, for the analyzer. */
  prepCounts(): { readonly samples: number; readonly busySeconds: number } {
    return this.pipeline.prepCounts();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.waker?.();
    await this.pipeline[Symbol.asyncDispose]();
    if (this.options.reader === undefined) await this.reader[Symbol.asyncDispose]();
    if (typeof this.options.cache !== "object") this.cache[Symbol.dispose]();
  }

  /** Plans and prepares as far ahead as room allows; called whenever there may be new room. */
  private fill(): void {
    if (this.closed) return;
    const { ahead = 8 } = this.options;
    while (this.window.length < ahead && !this.atBorder) this.planOne();
    for (const entry of this.window) {
      if (entry.result !== null) continue;
      const slot = this.freeSlots.pop();
      if (slot === undefined) break;
      entry.slot = slot;
      entry.result = this.pipeline.prepare(entry.planned, slot * this.slotBytes);
      entry.result.then(
        (prepared) => {
          entry.prepared = prepared;
        },
        () => {},
      );
    }
    this.waker?.();
  }

  private planOne(): void {
    const { seed, epoch, position } = this.cursor;
    if (position >= this.length) {
      void this.crossBorder();
      return;
    }
    const n = Math.min(this.options.batchSize, this.length - position);
    const order = this.sampler.order(seed, epoch);
    const items = Int32Array.from(order.subarray(position, position + n));
    const planned = this.pipeline.plan(seed, epoch, items);
    this.window.push({ planned, place: this.cursor, slot: -1, result: null, prepared: null });
    this.cursor = { seed, epoch, position: position + n };
  }

  /** Between epochs everything read has reached the cache, so that the next epoch finds it; and bounds change only here. */
  private async crossBorder(): Promise<void> {
    this.atBorder = true;
    const { generation } = this;
    await this.pipeline.fetched();
    // What a smaller cache gives up must not be in use.
    if (this.resize) await this.pipeline.drained();
    if (generation !== this.generation || this.closed) return;
    this.resize = false;
    const { seed, epoch } = this.cursor;
    this.cache.beginEpoch(seed, epoch + 1);
    this.cursor = { seed, epoch: epoch + 1, position: 0 };
    this.atBorder = false;
    this.fill();
  }

  /** The entry to hand out next, once it is being prepared. */
  private async head(signal: AbortSignal | undefined): Promise<Window> {
    for (;;) {
      if (this.closed) throw new InvariantError("the loader was closed");
      const entry = this.window[0];
      if (entry !== undefined && entry.result !== null) return entry;
      const woken = new Promise<void>((resolve) => {
        this.waker = resolve;
      });
      try {
        await waitFor(woken, signal);
      } finally {
        this.waker = null;
      }
    }
  }

  private account(began: number, prepared: Prepared): void {
    const now = performance.now();
    const fetch = Math.min(Math.max(0, prepared.fetchedAt - began), now - began);
    this.totals.waitSeconds += (now - began) / 1000;
    this.totals.fetchSeconds += fetch / 1000;
    this.totals.prepSeconds += (now - began - fetch) / 1000;
  }

  private lend({ slot, place }: Window, prepared: Prepared): Loan<Batch> {
    const { samples, items, labels } = prepared;
    const elements = samples * this.spec.shape.reduce((a, b) => a * b, 1);
    const data = typedView(this.spec.type, this.memory, slot * this.slotBytes, elements);
    this.totals.batches++;
    this.totals.samples += samples;
    let released = false;
    return {
      batch: { spec: this.spec, data, labels, items, epoch: place.epoch, position: place.position },
      samples,
      release: () => {
        if (released) throw new InvariantError("the batch was released already");
        released = true;
        this.free(slot);
      },
    };
  }

  private free(slot: number): void {
    this.freeSlots.push(slot);
    this.fill();
  }
}

/** The promise, or the signal's reason when it aborts first. */
export function waitFor<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
