/**
 * The cache to compare with: least recently used, bounded in bytes. What the page cache aims at, without the kernel's
 * second list and read-ahead. For experiments; a job that shuffles gets fewer hits from it than from MinIO.
 */
import { InvariantError } from "@millrace/core";
import type { Area } from "../batch/area.ts";
import type { ByteCache, CacheCounts, CacheHit } from "../cache/byte-cache.ts";
import { Arena, arenaAlignment } from "../fetch/arena.ts";

interface Entry {
  readonly offset: number;
  readonly bytes: number;
  pins: number;
}

/** In this process's memory, up to 4 GiB. */
export class LruCache implements ByteCache {
  readonly policy = "lru";
  private readonly arena: Arena;
  /** Insertion order is order of use. */
  private readonly entries = new Map<number, Entry>();
  private capacity: number;
  private wanted: number;
  private used = 0;
  private hits = 0;
  private misses = 0;
  private admitted = 0;
  private refused = 0;
  private evicted = 0;

  /** `maxItems` bounds the loss to page rounding that room is kept for. */
  constructor(capacityBytes: number, maxItems: number) {
    this.capacity = capacityBytes;
    this.wanted = capacityBytes;
    // Holes between blocks of unequal size cost room too: a fifth on top keeps evictions for room, not for holes.
    this.arena = new Arena(Math.max(1 << 20, capacityBytes * 1.2 + maxItems * arenaAlignment));
  }

  areas(): readonly Area[] {
    return [this.arena.area];
  }

  lookup(item: number): CacheHit | null {
    const entry = this.entries.get(item);
    if (entry === undefined) {
      this.misses++;
      return null;
    }
    this.hits++;
    entry.pins++;
    this.entries.delete(item);
    this.entries.set(item, entry);
    return { area: 0, offset: entry.offset, bytes: entry.bytes };
  }

  has(item: number): boolean {
    return this.entries.has(item);
  }

  release(item: number): void {
    const entry = this.entries.get(item);
    if (entry === undefined || entry.pins === 0)
      throw new InvariantError(`item ${item} was not pinned`);
    entry.pins--;
  }

  admit(item: number, bytes: Uint8Array): boolean {
    if (this.entries.has(item) || bytes.length > this.capacity || bytes.length === 0) {
      this.refused++;
      return false;
    }
    while (this.used + bytes.length > this.capacity)
      if (!this.evict()) {
        this.refused++;
        return false;
      }
    let offset = this.arena.take(bytes.length);
    while (offset < 0) {
      if (!this.evict()) {
        this.refused++;
        return false;
      }
      offset = this.arena.take(bytes.length);
    }
    this.arena.view(offset, bytes.length).set(bytes);
    this.entries.set(item, { offset, bytes: bytes.length, pins: 0 });
    this.used += bytes.length;
    this.admitted++;
    return true;
  }

  setCapacityBytes(bytes: number): void {
    if (!(bytes >= 0 && bytes * 1.2 <= this.arena.bytes))
      throw new InvariantError(`a cache of ${bytes} bytes in ${this.arena.bytes}`);
    this.wanted = bytes;
  }

  beginEpoch(): void {
    this.capacity = this.wanted;
    while (this.used > this.capacity && this.evict());
  }

  counts(): CacheCounts {
    const { hits, misses, admitted, refused, evicted, used, capacity } = this;
    const items = this.entries.size;
    return {
      hits,
      misses,
      admitted,
      refused,
      evicted,
      items,
      usedBytes: used,
      capacityBytes: capacity,
    };
  }

  [Symbol.dispose](): void {
    this.entries.clear();
  }

  /** Drops the entry that was used longest ago and is not in use; false when all are. */
  private evict(): boolean {
    for (const [item, entry] of this.entries) {
      if (entry.pins > 0) continue;
      this.entries.delete(item);
      this.arena.give(entry.offset, entry.bytes);
      this.used -= entry.bytes;
      this.evicted++;
      return true;
    }
    return false;
  }
}
