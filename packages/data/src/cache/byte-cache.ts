/**
 * Raw items kept in host memory between epochs. Policies stand behind one interface; the one to use is MinIO (CoorDL
 * section 4.1): with one pass over the data per epoch, what is resident at an epoch's start bounds its hits, and a
 * cache that never evicts within an epoch reaches that bound.
 */
import type { Area } from "../batch/area.ts";

/** Where a cached item lies. Valid until `release`. */
export interface CacheHit {
  /** Index into `areas`. */
  readonly area: number;
  readonly offset: number;
  readonly bytes: number;
}

/** Totals since opening, and the state now. */
export interface CacheCounts {
  readonly hits: number;
  readonly misses: number;
  readonly admitted: number;
  /** Offered and not kept: no room, or another process was faster. */
  readonly refused: number;
  readonly evicted: number;
  readonly items: number;
  readonly usedBytes: number;
  readonly capacityBytes: number;
}

/** A bounded cache of items by number. Never holds more than capacityBytes. */
export interface ByteCache extends Disposable {
  readonly policy: "minio" | "lru" | "none";
  /** Memory that hits point into; grows, entries never change. */
  areas(): readonly Area[];
  /** The item, pinned, or null; counts a hit or a miss. */
  lookup(item: number): CacheHit | null;
  /** The item is there now; counts nothing. */
  has(item: number): boolean;
  /** Unpins what `lookup` gave. */
  release(item: number): void;
  /** Offers an item that was just read; the bytes are copied when it is kept. */
  admit(item: number, bytes: Uint8Array): boolean;
  /** Asks for another bound; acts at the next `beginEpoch`. */
  setCapacityBytes(bytes: number): void;
  /** Called between epochs; the only time at which items may be dropped by a never-evict policy. */
  beginEpoch(seed: number, epoch: number): void;
  counts(): CacheCounts;
}
