/**
 * Reading items from wherever they are stored. One interface: files of this machine, a storage model that slows them
 * down, and a cache spread over servers stand behind it and can be put in front of each other.
 */
import type { Extent } from "../source/source.ts";

/** What is to be read. */
export interface ReadRequest {
  /** Number of the item in its source. */
  readonly item: number;
  /** Content key of the item (Source.key). */
  readonly key: readonly [number, number];
  readonly extent: Extent;
}

/** Where a read put the bytes. */
export interface ReadResult {
  /** Offset of the item's first byte in the buffer that was given. */
  readonly start: number;
  /** Bytes that were moved from storage for it, padding included; 0 when storage was not touched. */
  readonly storageBytes: number;
}

/** Totals since opening. */
export interface ReadCounts {
  readonly reads: number;
  readonly bytes: number;
  /** Bytes from storage proper, padding of direct input included. */
  readonly storageBytes: number;
  readonly retries: number;
  readonly failures: number;
}

/**
 * Reads whole items. Any number of reads may be in flight. A read rejects with the signal's reason, or with
 * MillraceError DATA_UNREADABLE naming the path when the item cannot be had; the buffer is then undefined.
 */
export interface StorageReader extends AsyncDisposable {
  readonly name: string;
  /**
   * Bytes that a buffer for this extent must have: the item and what alignment adds. Buffers start at a multiple of
   * 4096 in memory.
   */
  room(extent: Extent): number;
  read(request: ReadRequest, into: Uint8Array, signal?: AbortSignal): Promise<ReadResult>;
  counts(): ReadCounts;
}
