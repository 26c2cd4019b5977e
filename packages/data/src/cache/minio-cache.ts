/**
 * The never-evict cache (MinIO, CoorDL section 4.1) as files in shared memory: filled by first touch until its bytes are
 * full, kept over restarts, and used by every job of the same user on the same data set at once. An item is known by
 * path, size, modification time and place (Source.key); what changed on storage is dropped at the next opening.
 *
 * The items are a log in the order of admission. With shuffled epochs that order is a seeded permutation, so cutting
 * the log's end (shrinking) drops a seeded random subset and leaves no holes.
 */
import {
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { contentHash, InvariantError, MillraceError } from "@millrace/core";
import {
  allocateShared,
  createShared,
  FileLock,
  type MappedRegion,
  mapShared,
  privateFolder,
  sharedFolder,
  sharedRoom,
} from "@millrace/system";
import { type Area, AreaViews } from "../batch/area.ts";
import type { Source } from "../source/source.ts";
import type { ByteCache, CacheCounts, CacheHit } from "./byte-cache.ts";
import { zlibCrc32 } from "./crc.ts";
import { entryState, IndexTable, indexBytes } from "./index-table.ts";

export interface MinioCacheOptions {
  readonly source: Source;
  /** Bound on the items' bytes; the index adds 64 to 128 bytes per item of the data set. */
  readonly capacityBytes: number;
  /** Folder of all caches, default this user's folder in /dev/shm. Memory of other kinds (a local SSD) works as well. */
  readonly folder?: string;
  /** False: the last job to close the cache removes it. Default true. */
  readonly persistent?: boolean;
  /** Bytes of one file, default 256 MiB; no item may be larger. */
  readonly segmentBytes?: number;
  /** A bound beyond the memory that is there becomes what is there, as one set between epochs does. Default false: refused. */
  readonly orLess?: boolean;
}

const defaultSegmentBytes = 256 * 2 ** 20;

/** Where the cache of a data set lies under a folder of caches. */
export function cachePath(source: Source, folder = join(sharedFolder(), "cache")): string {
  return join(folder, contentHash(`${source.kind} ${source.path}`).slice(0, 16));
}

/** Opening, lookups and admissions are safe beside other processes; dropping waits until it has the cache alone. */
export class MinioCache implements ByteCache {
  readonly policy = "minio";
  readonly path: string;
  private readonly source: Source;
  private readonly persistent: boolean;
  private readonly segmentBytes: number;
  private readonly lock: FileLock;
  private readonly admission: FileLock;
  private readonly region: MappedRegion;
  private readonly index: IndexTable;
  private readonly views = new AreaViews();
  private readonly segments: Area[] = [];
  private readonly verified: Uint8Array;
  private wanted: number | null = null;
  private full = false;
  private hits = 0;
  private misses = 0;
  private admitted = 0;
  private refused = 0;
  private evicted = 0;
  private open = true;

  /**
   * Opens or makes the cache. A second process may enlarge the bound, and lowers it only when it is alone. Throws
   * MillraceError SHARED_MEMORY_FULL when the bound cannot be had (unless `orLess`), before anything is taken.
   */
  constructor(options: MinioCacheOptions) {
    const { source, capacityBytes, persistent = true, orLess = false } = options;
    this.source = source;
    this.persistent = persistent;
    this.segmentBytes = options.segmentBytes ?? defaultSegmentBytes;
    const folder = options.folder ?? join(sharedFolder(), "cache");
    this.path = privateFolder(cachePath(source, privateFolder(folder)));
    this.verified = new Uint8Array(Math.ceil(source.length / 8));
    this.lock = new FileLock(join(this.path, "lock"));
    this.admission = new FileLock(join(this.path, "admission"));
    const alone = this.lock.try("exclusive");
    if (!alone) this.lock.waitSync("shared");
    const file = join(this.path, "index");
    const bytes = indexBytes(source.length);
    if (alone && existsSync(file) && statSync(file).size < bytes) this.wipe();
    if (!existsSync(file)) createShared(file, bytes);
    this.region = mapShared(file, statSync(file).size);
    this.index = new IndexTable(this.region.buffer);
    if (alone) this.recover(capacityBytes);
    else if (capacityBytes > this.index.capacity) this.index.capacity = capacityBytes;
    if (this.fit() || orLess) this.lock.waitSync("shared");
    else {
      const room = this.room();
      this[Symbol.dispose]();
      throw new MillraceError(
        "SHARED_MEMORY_FULL",
        `a cache of ${Math.min(capacityBytes, source.totalBytes)} bytes does not fit: ${this.path} has room for ${room}`,
        {
          at: { file: this.path },
          hint: "lower the cache's bytes, or enlarge the file system (mount -o remount,size=…, docker run --shm-size)",
        },
      );
    }
  }

  areas(): readonly Area[] {
    return this.segments;
  }

  has(item: number): boolean {
    const [a, b] = this.source.key(item);
    return this.index.find(a, b) >= 0;
  }

  lookup(item: number): CacheHit | null {
    const [a, b] = this.source.key(item);
    const slot = this.index.find(a, b);
    const hit = slot < 0 ? null : this.locate(slot);
    if (hit === null || !this.verify(item, slot, hit)) {
      this.misses++;
      return null;
    }
    this.hits++;
    return hit;
  }

  release(): void {}

  admit(item: number, bytes: Uint8Array): boolean {
    if (!this.open) throw new InvariantError("the cache was closed");
    const kept = !this.full && bytes.length > 0 && this.store(item, bytes);
    if (kept) this.admitted++;
    else this.refused++;
    return kept;
  }

  setCapacityBytes(bytes: number): void {
    if (!(bytes >= 0)) throw new InvariantError(`a cache of ${bytes} bytes`);
    this.wanted = Math.floor(bytes);
  }

  beginEpoch(): void {
    if (this.wanted === null) return;
    const bytes = this.wanted;
    const before = this.index.capacity;
    if (bytes >= before) {
      this.index.capacity = bytes;
      this.full = false;
      // A job in the middle of its training is not ended for it.
      this.fit(before);
    } else {
      // Others may be reading what would be dropped: the lower bound waits for a border at which this job is alone.
      // A failed attempt may have lost the shared lock, so that it is taken again either way.
      const alone = this.lock.try("exclusive");
      if (alone) this.cut(bytes);
      this.lock.waitSync("shared");
      if (!alone) return;
    }
    this.wanted = null;
  }

  counts(): CacheCounts {
    const { hits, misses, admitted, refused, evicted } = this;
    return {
      hits,
      misses,
      admitted,
      refused,
      evicted,
      items: this.index.items,
      usedBytes: this.index.usedBytes,
      capacityBytes: this.index.capacity,
    };
  }

  [Symbol.dispose](): void {
    if (!this.open) return;
    this.open = false;
    this.views[Symbol.dispose]();
    this.region[Symbol.dispose]();
    if (!this.persistent && this.lock.try("exclusive")) rmSync(this.path, { recursive: true });
    this.lock[Symbol.dispose]();
    this.admission[Symbol.dispose]();
  }

  private store(item: number, bytes: Uint8Array): boolean {
    const [a, b] = this.source.key(item);
    if (bytes.length > this.segmentBytes) return false;
    this.admission.waitSync("exclusive");
    const slot = this.index.claim(a, b, bytes.length, this.index.capacity, this.segmentBytes);
    this.admission.unlock();
    if (slot < 0) return false;
    const offset = this.index.offset(slot);
    const segment = this.segment(Math.floor(offset / this.segmentBytes));
    // Without memory for its segment the entry stays unfinished, and is dropped at the next opening.
    if (segment === null) return false;
    this.views.bytes(segment, offset % this.segmentBytes, bytes.length).set(bytes);
    // Under the lock, since Python, which has no atomic addition, counts there as well.
    this.admission.waitSync("exclusive");
    this.index.publish(slot, bytes);
    this.admission.unlock();
    this.mark(item);
    return true;
  }

  private locate(slot: number): CacheHit | null {
    const offset = this.index.offset(slot);
    const area = Math.floor(offset / this.segmentBytes);
    const bytes = this.index.bytes(slot);
    if (this.segment(area) === null) return null;
    return { area, offset: offset % this.segmentBytes, bytes };
  }

  /** What another run left is checked once, at its first use here. */
  private verify(item: number, slot: number, { area, offset, bytes }: CacheHit): boolean {
    if (((this.verified[item >> 3] as number) >> (item & 7)) & 1) return true;
    const content = this.views.bytes(this.segments[area] as Area, offset, bytes);
    const sound =
      bytes === this.source.extent(item).bytes && zlibCrc32(content) === this.index.crc(slot);
    if (sound) this.mark(item);
    else this.index.drop(slot);
    return sound;
  }

  private mark(item: number): void {
    this.verified[item >> 3] = (this.verified[item >> 3] as number) | (1 << (item & 7));
  }

  /** The segment of that number with all its memory; null when shared memory is full, and then for good. */
  private segment(number: number): Area | null {
    for (let i = 0; i <= number; i++) {
      const known = this.segments[i];
      if (known?.kind === "file" && known.bytes >= this.segmentSize(i)) continue;
      const path = join(this.path, `segment-${i}`);
      const bytes = this.segmentSize(i);
      try {
        if (!existsSync(path)) createExclusive(path, bytes);
        else if (statSync(path).size < bytes) allocateShared(path, bytes);
      } catch (error) {
        if (!(error instanceof MillraceError)) throw error;
        this.full = true;
        return null;
      }
      this.segments[i] = { kind: "file", path, bytes: statSync(path).size };
    }
    return this.segments[number] as Area;
  }

  private segmentSize(i: number): number {
    const page = 4096;
    const size = Math.min(this.segmentBytes, this.index.capacity - i * this.segmentBytes);
    return Math.max(page, Math.ceil(size / page) * page);
  }

  private wipe(): void {
    for (let i = 0; existsSync(join(this.path, `segment-${i}`)); i++)
      unlinkSync(join(this.path, `segment-${i}`));
    rmSync(join(this.path, "index"), { force: true });
    this.segments.length = 0;
  }

  /** Alone: drops what is half-filled, changed on storage or beyond the bound, and closes the gaps. */
  private recover(capacityBytes: number): void {
    const note = join(this.path, "about.json");
    const about = JSON.stringify({
      kind: this.source.kind,
      path: this.source.path,
      segmentBytes: this.segmentBytes,
    });
    const same = existsSync(note) && readFileSync(note, "utf8") === about;
    if (!this.index.valid || !same) {
      for (let i = 0; existsSync(join(this.path, `segment-${i}`)); i++)
        unlinkSync(join(this.path, `segment-${i}`));
      this.index.format();
      writeFileSync(note, about, { mode: 0o600 });
    }
    const live = new Uint8Array(this.index.slots);
    for (let i = 0; i < this.source.length; i++) {
      const slot = this.index.find(...this.source.key(i));
      if (slot >= 0) live[slot] = 1;
    }
    const before = this.index.capacity;
    if (!this.index.tidy(live) || this.index.bump > capacityBytes)
      this.rewrite(live, Math.max(before, capacityBytes), capacityBytes);
    this.index.capacity = capacityBytes;
    this.trim();
  }

  /** Alone: moves the entries to keep to the front of the log, as far as they are sound and fit. */
  private rewrite(live: Uint8Array, before: number, capacityBytes: number): void {
    const entries = this.ready()
      .filter((slot) => live[slot] === 1)
      .map((slot) => ({
        key: this.index.key(slot),
        offset: this.index.offset(slot),
        bytes: this.index.bytes(slot),
        crc: this.index.crc(slot),
      }));
    entries.sort((x, y) => x.offset - y.offset);
    this.index.format();
    this.index.dirty = true;
    this.index.capacity = before;
    for (const { key, offset, bytes, crc } of entries) {
      const area = this.segment(Math.floor(offset / this.segmentBytes));
      if (area === null) break;
      const content = this.views.bytes(area, offset % this.segmentBytes, bytes);
      if (zlibCrc32(content) !== crc) continue;
      const slot = this.index.claim(...key, bytes, capacityBytes, this.segmentBytes);
      if (slot < 0) continue;
      const to = this.index.offset(slot);
      const segment = this.segments[Math.floor(to / this.segmentBytes)] as Area;
      const target = this.views.bytes(segment, to % this.segmentBytes, bytes);
      if (to !== offset) target.set(content);
      this.index.publish(slot, target);
    }
    this.index.dirty = false;
  }

  /** Alone: drops the log's end down to the bound. */
  private cut(bytes: number): void {
    let bump = 0;
    for (const slot of this.ready()) {
      const end = this.index.offset(slot) + this.index.bytes(slot);
      if (end <= bytes) bump = Math.max(bump, end);
      else {
        this.index.drop(slot);
        this.evicted++;
      }
    }
    this.index.bump = bump;
    this.index.capacity = bytes;
    this.full = false;
    this.trim();
  }

  private ready(): number[] {
    const slots: number[] = [];
    for (let s = 0; s < this.index.slots; s++)
      if (this.index.state(s) === entryState.ready) slots.push(s);
    return slots;
  }

  /** Gives memory beyond the bound back. Mappings are renewed, since what they showed there is gone. */
  private trim(): void {
    this.views[Symbol.dispose]();
    const whole = Math.ceil(this.index.capacity / this.segmentBytes);
    this.segments.length = Math.min(this.segments.length, whole);
    for (let i = 0; ; i++) {
      const path = join(this.path, `segment-${i}`);
      if (!existsSync(path)) break;
      if (i >= whole) {
        unlinkSync(path);
        continue;
      }
      if (statSync(path).size > this.segmentSize(i)) truncateSync(path, this.segmentSize(i));
      if (i < this.segments.length)
        this.segments[i] = { kind: "file", path, bytes: statSync(path).size };
    }
  }

  /** Whether the bound can be had; when not, it becomes what can, at least `least`. */
  private fit(least = 0): boolean {
    const room = this.room();
    if (Math.min(this.index.capacity, this.source.totalBytes) <= room) return true;
    this.index.capacity = Math.max(least, room);
    return false;
  }

  /** Bytes that the items may take: what is free, and what has been taken for them. */
  private room(): number {
    let present = 0;
    for (const area of this.segments) if (area.kind === "file") present += area.bytes;
    for (let i = this.segments.length; existsSync(join(this.path, `segment-${i}`)); i++)
      present += statSync(join(this.path, `segment-${i}`)).size;
    return sharedRoom(this.path) + present;
  }
}

/** Another process may make the same segment at the same time; then the one that was made counts. */
function createExclusive(path: string, bytes: number): void {
  try {
    createShared(path, bytes);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    if (statSync(path).size < bytes) allocateShared(path, bytes);
  }
}
