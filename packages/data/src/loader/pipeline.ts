/**
 * Fetch, cache and preparation as one machine that makes batches in any order it is asked to: the loader asks in the
 * order of an epoch, a producer of the preparation service by lease. It holds no place in an epoch.
 */
import { InvariantError, MillraceError, Rng } from "@millrace/core";
import { type Area, AreaViews } from "../batch/area.ts";
import { type SampleSpec, sampleBytes } from "../batch/batch.ts";
import type { ByteCache } from "../cache/byte-cache.ts";
import { Arena } from "../fetch/arena.ts";
import { type Fetched, Fetcher } from "../fetch/fetcher.ts";
import type { StorageReader } from "../fetch/storage-reader.ts";
import { outputSpec } from "../prep/make-transform.ts";
import { PrepPool } from "../prep/pool.ts";
import type { PrepResult } from "../prep/protocol.ts";
import type { TransformSpec } from "../prep/transform.ts";
import type { Source } from "../source/source.ts";
import { BadSampleLog, type BadSamplePolicy } from "./bad-samples.ts";

export interface PipelineOptions {
  readonly source: Source;
  readonly transform: TransformSpec;
  readonly cache: ByteCache;
  readonly reader: StorageReader;
  readonly workers: number;
  readonly inFlight: number;
  readonly arenaBytes: number;
  readonly badSamples: BadSamplePolicy;
  /** Where prepared batches go. */
  readonly out: Area;
}

/** A batch whose misses are being fetched. End it with `prepare` or `discard`. */
export interface Planned {
  readonly items: Int32Array;
  readonly seed: number;
  readonly epoch: number;
}

/** What became of a batch. */
export interface Prepared {
  /** Samples that are there; below the number planned when bad ones were skipped. */
  readonly samples: number;
  readonly items: Int32Array;
  readonly labels: Int32Array;
  /** performance.now() when the last item's bytes were there, and when the last sample was prepared. */
  readonly fetchedAt: number;
  readonly preparedAt: number;
}

interface Sample {
  readonly batch: Job;
  readonly index: number;
  item: number;
  attempts: number;
  raw: { readonly area: number; readonly offset: number; readonly bytes: number } | null;
  fetched: Fetched | null;
  hit: boolean;
  label: number;
  state: "fetching" | "fetched" | "preparing" | "done" | "bad";
}

interface Job extends Planned {
  /** Place among all that were planned. */
  readonly order: number;
  readonly samples: Sample[];
  outOffset: number;
  started: boolean;
  left: number;
  fetchedAt: number;
  readonly resolve: (prepared: Prepared) => void;
  readonly reject: (error: Error) => void;
  readonly result: Promise<Prepared>;
}

/** Numbers of memory areas; the cache's follow. */
const areaOf = { arena: 0, out: 1, cache: 2 } as const;
const replacements = 16;

export class Pipeline implements AsyncDisposable {
  readonly spec: SampleSpec;
  readonly bad = new BadSampleLog();
  private readonly options: PipelineOptions;
  private readonly arena: Arena;
  private readonly fetcher: Fetcher;
  private readonly pool: PrepPool;
  private readonly views = new AreaViews();
  private readonly stride: number;
  private readonly preparing = new Map<number, Sample>();
  private readonly announced: Area[] = [];
  private readonly watchers = new Set<() => void>();
  private nextId = 0;
  private planned = 0;
  /** Planned or being prepared. */
  private readonly jobs = new Set<Job>();
  private failure: Error | null = null;

  constructor(options: PipelineOptions) {
    const { source, transform, reader, inFlight, arenaBytes, workers, out } = options;
    this.options = options;
    this.spec = outputSpec(transform);
    this.stride = sampleBytes(this.spec);
    this.arena = new Arena(arenaBytes);
    this.fetcher = new Fetcher({
      source,
      reader,
      arena: this.arena,
      inFlight,
      // Jobs are kept in the order of planning.
      first: () => this.jobs.values().next().value?.order ?? 0,
    });
    this.pool = new PrepPool(
      workers,
      { transform, codec: source.codec },
      (result) => this.prepared(result),
      (error) => this.fail(error),
    );
    this.pool.setArea(areaOf.arena, this.arena.area);
    this.pool.setArea(areaOf.out, out);
  }

  /** Starts fetching what the batch misses. */
  plan(seed: number, epoch: number, items: Int32Array): Planned {
    let resolve = (_: Prepared): void => {};
    let reject = (_: Error): void => {};
    const result = new Promise<Prepared>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    // A batch that is discarded may fail without anybody waiting for it.
    result.catch(() => {});
    const samples: Sample[] = [];
    const job: Job = {
      order: this.planned++,
      items,
      seed,
      epoch,
      samples,
      outOffset: -1,
      started: false,
      left: items.length,
      fetchedAt: performance.now(),
      resolve,
      reject,
      result,
    };
    this.jobs.add(job);
    items.forEach((item, index) => {
      const sample: Sample = {
        batch: job,
        index,
        item,
        attempts: 0,
        raw: null,
        fetched: null,
        hit: false,
        label: -1,
        state: "fetching",
      };
      samples.push(sample);
      this.locate(sample);
    });
    return job;
  }

  /** Prepares a planned batch at the offset of the output area. Rejects by policy, or when a thread ended. */
  prepare(planned: Planned, outOffset: number): Promise<Prepared> {
    const job = planned as Job;
    if (job.started) throw new InvariantError("the batch is being prepared already");
    job.started = true;
    job.outOffset = outOffset;
    if (this.failure !== null) job.reject(this.failure);
    for (const sample of job.samples) this.submit(sample);
    return job.result;
  }

  /** Drops a batch that was planned and not prepared. */
  discard(planned: Planned): void {
    const job = planned as Job;
    if (job.started) throw new InvariantError("a batch that is being prepared cannot be dropped");
    job.started = true;
    for (const sample of job.samples) this.release(sample);
    if (job.left > 0) this.close(job);
    else this.look();
  }

  /** Resolves when no read is under way. */
  fetched(): Promise<void> {
    return this.until(() => this.fetcher.idle);
  }

  /** Resolves when no batch is planned or being prepared. */
  drained(): Promise<void> {
    return this.until(() => this.jobs.size === 0);
  }

  setWorkers(count: number): void {
    this.pool.resize(count);
  }

  prepCounts(): { readonly samples: number; readonly busySeconds: number } {
    return this.pool.counts();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.fail(new InvariantError("the loader was closed"));
    this.fetcher.stop();
    await this.pool[Symbol.asyncDispose]();
    this.views[Symbol.dispose]();
  }

  private locate(sample: Sample): void {
    const { cache } = this.options;
    sample.raw = null;
    sample.state = "fetching";
    const hit = cache.lookup(sample.item);
    if (hit !== null) {
      const { area, offset, bytes } = hit;
      const memory = cache.areas()[area] as Area;
      if (this.announced[area] !== memory) {
        this.announced[area] = memory;
        this.pool.setArea(areaOf.cache + area, memory);
      }
      sample.hit = true;
      sample.raw = { area: areaOf.cache + area, offset, bytes };
      this.here(sample);
      return;
    }
    sample.fetched = this.fetcher.request(sample.item, sample.batch.order, (fetched) => {
      if (sample.fetched !== fetched) return;
      if (fetched.bytes === null) this.spoiled(sample, fetched.error?.message ?? "not read");
      else {
        cache.admit(sample.item, fetched.bytes);
        sample.raw = { area: areaOf.arena, offset: fetched.offset, bytes: fetched.bytes.length };
        this.here(sample);
      }
      this.look();
    });
  }

  private here(sample: Sample): void {
    sample.state = "fetched";
    sample.batch.fetchedAt = performance.now();
    this.submit(sample);
  }

  private submit(sample: Sample): void {
    const { batch, raw } = sample;
    if (!batch.started || batch.outOffset < 0 || sample.state !== "fetched" || raw === null) return;
    sample.state = "preparing";
    const id = this.nextId++;
    this.preparing.set(id, sample);
    this.pool.submit({
      id,
      ...raw,
      seed: batch.seed,
      epoch: batch.epoch,
      item: sample.item,
      label: this.options.source.label(sample.item),
      outArea: areaOf.out,
      outOffset: batch.outOffset + sample.index * this.stride,
    });
  }

  private prepared({ id, label, error }: PrepResult): void {
    const sample = this.preparing.get(id);
    if (sample === undefined) return;
    this.preparing.delete(id);
    this.release(sample);
    if (error !== undefined) {
      this.spoiled(sample, error);
      return;
    }
    sample.label = label;
    sample.state = "done";
    this.settle(sample.batch);
  }

  private spoiled(sample: Sample, reason: string): void {
    const { source, badSamples } = this.options;
    const { batch } = sample;
    const name = source.name(sample.item);
    this.release(sample);
    this.bad.add({ item: sample.item, name, reason });
    if (badSamples === "fail")
      batch.reject(
        new MillraceError("SAMPLE_BAD", `${name}: ${reason}`, {
          at: { file: source.extent(sample.item).path },
          hint: "repair or remove the sample, or choose the policy skip or replace",
        }),
      );
    else if (badSamples === "replace" && sample.attempts < replacements) {
      const path = `replace/${batch.seed}/${batch.epoch}/${batch.items[sample.index]}/${sample.attempts++}`;
      sample.item = new Rng(path).int(0, source.length - 1);
      this.locate(sample);
      return;
    }
    sample.state = "bad";
    this.settle(batch);
  }

  /** Counts a sample as finished; the last one ends the batch. */
  private settle(job: Job): void {
    job.left--;
    if (job.left > 0) return;
    this.close(job);
    const good = job.samples.filter(({ state }) => state === "done");
    if (job.outOffset >= 0 && good.length < job.samples.length) this.compact(job, good);
    job.resolve({
      samples: good.length,
      items: Int32Array.from(good, ({ item }) => item),
      labels: Int32Array.from(good, ({ label }) => label),
      fetchedAt: job.fetchedAt,
      preparedAt: performance.now(),
    });
  }

  private compact(job: Job, good: readonly Sample[]): void {
    const bytes = this.views.bytes(
      this.options.out,
      job.outOffset,
      job.samples.length * this.stride,
    );
    good.forEach(({ index }, to) => {
      if (index !== to)
        bytes.copyWithin(to * this.stride, index * this.stride, (index + 1) * this.stride);
    });
  }

  private release(sample: Sample): void {
    if (sample.hit) this.options.cache.release(sample.item);
    sample.hit = false;
    if (sample.fetched !== null) this.fetcher.release(sample.fetched);
    sample.fetched = null;
  }

  private close(job: Job): void {
    this.jobs.delete(job);
    this.fetcher.pump();
    this.look();
  }

  private fail(error: Error): void {
    this.failure = error;
    for (const job of this.jobs) job.reject(error);
    this.look();
  }

  private until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => {
      const watch = (): void => {
        if (!holds() && this.failure === null) return;
        this.watchers.delete(watch);
        resolve();
      };
      this.watchers.add(watch);
    });
  }

  private look(): void {
    for (const watch of [...this.watchers]) watch();
  }
}
