/**
 * The index of a shared cache: a hash table in a mapped file that any number of processes read without a lock. An entry
 * is claimed under a lock, filled, and then made ready; it is never moved while two processes have the cache open.
 *
 * Layout, 32-bit words, little endian: 16 header words, then 8 words per slot
 * [state, key, key, offset low, offset high, bytes, crc32, unused].
 */
import { zlibCrc32 } from "./crc.ts";

export const entryState = { empty: 0, filling: 1, ready: 2, dropped: 3 } as const;

const magic = 0x4d4c4331; // MLC1
const headerWords = 16;
const slotWords = 8;
const at = { magic: 0, slots: 1, dirty: 2, bump: 4, used: 6, items: 8, capacity: 10 } as const;

/** Bytes of an index for that many items, at most half full. */
export function indexBytes(items: number): number {
  const slots = 2 ** Math.ceil(Math.log2(Math.max(16, 2 * items)));
  return 4 * (headerWords + slots * slotWords);
}

/** A view of the index; counters are 64-bit integers, changed by atomic operations alone. */
export class IndexTable {
  private readonly words: Int32Array;
  private readonly longs: BigInt64Array;
  readonly slots: number;

  constructor(buffer: ArrayBufferLike) {
    this.words = new Int32Array(buffer);
    this.longs = new BigInt64Array(buffer, 0, headerWords / 2);
    this.slots = (this.words.length - headerWords) / slotWords;
  }

  /** Empties the index. Only under an exclusive lock. */
  format(): void {
    this.words.fill(0);
    this.words[at.slots] = this.slots;
    this.words[at.magic] = magic;
  }

  /** The file is an index of this version that was not left in the middle of a rewrite. */
  get valid(): boolean {
    return (
      this.words[at.magic] === magic &&
      this.words[at.slots] === this.slots &&
      this.words[at.dirty] === 0
    );
  }

  /** Set while entries are moved; a crash meanwhile empties the cache at the next opening. */
  set dirty(value: boolean) {
    Atomics.store(this.words, at.dirty, value ? 1 : 0);
  }

  get capacity(): number {
    return this.read(at.capacity);
  }

  set capacity(bytes: number) {
    Atomics.store(this.longs, at.capacity / 2, BigInt(bytes));
  }

  get usedBytes(): number {
    return this.read(at.used);
  }

  get items(): number {
    return this.read(at.items);
  }

  get bump(): number {
    return this.read(at.bump);
  }

  set bump(value: number) {
    Atomics.store(this.longs, at.bump / 2, BigInt(value));
  }

  /** Slot of the key when it is ready, else -1. Expected O(1). */
  find(a: number, b: number): number {
    const mask = this.slots - 1;
    for (let s = (a ^ b) & mask, probes = 0; probes < this.slots; s = (s + 1) & mask, probes++) {
      const w = headerWords + s * slotWords;
      const state = Atomics.load(this.words, w);
      if (state === entryState.empty) return -1;
      if (this.words[w + 1] === (a | 0) && this.words[w + 2] === (b | 0))
        return state === entryState.ready ? s : -1;
    }
    return -1;
  }

  /**
   * Claims a slot for the key and takes `bytes` of the log below `limit`, not across a border of `segment` bytes. -1 when
   * the key is there already, being filled, or nothing fits. Only under the lock for admissions.
   */
  claim(a: number, b: number, bytes: number, limit: number, segment: number): number {
    let from = this.bump;
    if (Math.floor(from / segment) !== Math.floor((from + bytes - 1) / segment))
      from = Math.ceil(from / segment) * segment;
    if (from + bytes > limit) return -1;
    const mask = this.slots - 1;
    for (let s = (a ^ b) & mask, probes = 0; probes < this.slots; s = (s + 1) & mask, probes++) {
      const w = headerWords + s * slotWords;
      const state = Atomics.load(this.words, w);
      const same = this.words[w + 1] === (a | 0) && this.words[w + 2] === (b | 0);
      if (state !== entryState.empty && !(same && state === entryState.dropped)) {
        if (same) return -1;
        continue;
      }
      this.words[w + 1] = a | 0;
      this.words[w + 2] = b | 0;
      this.words[w + 3] = from | 0;
      this.words[w + 4] = Math.floor(from / 2 ** 32);
      this.words[w + 5] = bytes | 0;
      Atomics.store(this.words, w, entryState.filling);
      this.bump = from + bytes;
      return s;
    }
    return -1;
  }

  /** Makes a claimed slot ready. */
  publish(slot: number, content: Uint8Array): void {
    const w = headerWords + slot * slotWords;
    this.words[w + 6] = zlibCrc32(content) | 0;
    Atomics.add(this.longs, at.used / 2, BigInt(content.length));
    Atomics.add(this.longs, at.items / 2, 1n);
    Atomics.store(this.words, w, entryState.ready);
  }

  /** Takes a ready slot out. */
  drop(slot: number): void {
    const w = headerWords + slot * slotWords;
    if (
      Atomics.compareExchange(this.words, w, entryState.ready, entryState.dropped) !==
      entryState.ready
    )
      return;
    Atomics.sub(this.longs, at.used / 2, BigInt(this.bytes(slot)));
    Atomics.sub(this.longs, at.items / 2, 1n);
  }

  /** Every entry is ready and marked as live: nothing is to be cleaned. */
  tidy(live: Uint8Array): boolean {
    for (let s = 0; s < this.slots; s++) {
      const state = this.state(s);
      if (state === entryState.filling || (state === entryState.ready && live[s] !== 1))
        return false;
    }
    return true;
  }

  state(slot: number): number {
    return Atomics.load(this.words, headerWords + slot * slotWords);
  }

  key(slot: number): readonly [number, number] {
    const w = headerWords + slot * slotWords;
    return [(this.words[w + 1] as number) >>> 0, (this.words[w + 2] as number) >>> 0];
  }

  offset(slot: number): number {
    const w = headerWords + slot * slotWords;
    return (this.words[w + 4] as number) * 2 ** 32 + ((this.words[w + 3] as number) >>> 0);
  }

  bytes(slot: number): number {
    return (this.words[headerWords + slot * slotWords + 5] as number) >>> 0;
  }

  crc(slot: number): number {
    return (this.words[headerWords + slot * slotWords + 6] as number) >>> 0;
  }

  private read(word: number): number {
    return Number(Atomics.load(this.longs, word / 2));
  }
}
