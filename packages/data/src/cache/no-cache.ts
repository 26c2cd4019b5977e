/** The cache that keeps nothing: what a loader without a byte cache has. */
import type { Area } from "../batch/area.ts";
import type { ByteCache, CacheCounts, CacheHit } from "./byte-cache.ts";

export class NoCache implements ByteCache {
  readonly policy = "none";
  private misses = 0;

  areas(): readonly Area[] {
    return [];
  }

  lookup(): CacheHit | null {
    this.misses++;
    return null;
  }

  has(): boolean {
    return false;
  }

  release(): void {}

  admit(): boolean {
    return false;
  }

  setCapacityBytes(): void {}

  beginEpoch(): void {}

  counts(): CacheCounts {
    return {
      hits: 0,
      misses: this.misses,
      admitted: 0,
      refused: 0,
      evicted: 0,
      items: 0,
      usedBytes: 0,
      capacityBytes: 0,
    };
  }

  [Symbol.dispose](): void {}
}
