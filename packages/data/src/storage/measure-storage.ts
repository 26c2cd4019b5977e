/** What a storage gives: random reads of some size with some number in flight, past the page cache where it can be. */
import { InvariantError, Rng } from "@millrace/core";
import { Arena } from "../fetch/arena.ts";
import type { ReadRequest, StorageReader } from "../fetch/storage-reader.ts";
import type { Source } from "../source/source.ts";

/** One kind of access. */
export interface AccessPattern {
  /** Bytes of a read at a random place; "items": whole items, as a loader reads them. */
  readonly size: number | "items";
  /** Reads in flight. More than the thread pool has (UV_THREADPOOL_SIZE, 4) wait for it. */
  readonly depth: number;
}

/** What came of it. Rates are of useful bytes; `storageBytes` has the padding too. */
export interface StorageRate extends AccessPattern {
  readonly reads: number;
  readonly bytes: number;
  readonly storageBytes: number;
  readonly seconds: number;
  readonly bytesPerSecond: number;
  readonly operationsPerSecond: number;
  /** CPU time of this process per read, seconds. */
  readonly coreSecondsPerRead: number;
  /** Seconds a read took, from asking to having. */
  readonly latencySeconds: { readonly p50: number; readonly p99: number };
}

/** How long to measure. */
export interface MeasureStorageOptions {
  /** Stop after this long, seconds (default 1) … */
  readonly seconds?: number;
  /** … or this many reads (default: each item once). */
  readonly reads?: number;
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

/**
 * Reads at random through the reader. Null when no file of the source is as large as the pattern asks. The page cache
 * answers where the reader goes through it: then this is not the rate of the storage.
 */
export async function measureStorage(
  source: Source,
  reader: StorageReader,
  pattern: AccessPattern,
  options: MeasureStorageOptions = {},
): Promise<StorageRate | null> {
  const { seconds = 1, reads: most = source.length, seed = 1, signal } = options;
  if (!(pattern.depth >= 1)) throw new InvariantError(`a depth of ${pattern.depth}`);
  const draw = requests(source, pattern.size, new Rng(`measure/${seed}`));
  if (draw === null) return null;
  const latencies: number[] = [];
  let started = 0;
  let bytes = 0;
  let storageBytes = 0;
  const cpu = process.cpuUsage();
  const began = performance.now();
  const readOn = async (): Promise<void> => {
    let buffer = new Arena(1 << 20).view(0, 1 << 20);
    while (started < most && performance.now() - began < seconds * 1000) {
      started++;
      const request = draw();
      const room = reader.room(request.extent);
      if (buffer.length < room) buffer = new Arena(room).view(0, room);
      const asked = performance.now();
      const result = await reader.read(request, buffer, signal);
      latencies.push((performance.now() - asked) / 1000);
      bytes += request.extent.bytes;
      storageBytes += result.storageBytes;
    }
  };
  await Promise.all(Array.from({ length: pattern.depth }, readOn));
  const took = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const at = (q: number) => latencies[Math.floor(q * (latencies.length - 1))] ?? Number.NaN;
  return {
    ...pattern,
    reads: latencies.length,
    bytes,
    storageBytes,
    seconds: took,
    bytesPerSecond: bytes / took,
    operationsPerSecond: latencies.length / took,
    coreSecondsPerRead: (user + system) / 1e6 / latencies.length,
    latencySeconds: { p50: at(0.5), p99: at(0.99) },
  };
}

/** Endless requests of the pattern; whole items come in random order without repeats until all were read. */
function requests(source: Source, size: number | "items", rng: Rng): (() => ReadRequest) | null {
  const items = Uint32Array.from({ length: source.length }, (_, i) => i);
  rng.shuffle(items);
  let at = 0;
  const next = (): number => items[at++ % items.length] as number;
  if (size === "items")
    return () => {
      const item = next();
      return { item, key: source.key(item), extent: source.extent(item) };
    };
  // Items of a file end where it is known to reach: ranges before the furthest end are there.
  const ends = new Map<string, number>();
  for (const item of items) {
    const { path, offset, bytes } = source.extent(item);
    ends.set(path, Math.max(ends.get(path) ?? 0, offset + bytes));
  }
  const files = [...ends].filter(([, end]) => end >= size);
  if (files.length === 0) return null;
  return () => {
    const [path, end] = files[rng.int(0, files.length - 1)] as [string, number];
    const blocks = Math.floor((end - size) / 4096);
    const offset = 4096 * rng.int(0, blocks);
    return { item: 0, key: [0, 0], extent: { path, offset, bytes: size } };
  };
}
