/**
 * Reads through a cache that is spread over servers. An item that some member keeps comes from that member's store, or
 * from storage and then goes to the store; all others come from storage at once. Whatever goes wrong with a store ends in
 * a read from storage, so that a lost member costs its share of the hits and nothing else.
 */
import { type Clock, MillraceError, WallClock } from "@millrace/core";
import { zlibCrc32 } from "../cache/crc.ts";
import type {
  ReadCounts,
  ReadRequest,
  ReadResult,
  StorageReader,
} from "../fetch/storage-reader.ts";
import type { Extent, Source } from "../source/source.ts";
import { Breaker, type BreakerOptions, type BreakerState } from "./breaker.ts";
import { assignOwners, type MemberShare, nobody, type Ownership } from "./ownership.ts";
import type { PeerStore } from "./peer-store.ts";

/** A server's store. */
export interface Member extends MemberShare {
  readonly store: PeerStore;
}

export interface PartitionedReaderOptions {
  readonly source: Source;
  /** The same list, in names and bytes, on every server. Stores are taken over and closed. */
  readonly members: readonly Member[];
  /** Where items come from that no store gives; taken over and closed. */
  readonly storage: StorageReader;
  /** CRC-32 of an item from the data set's manifest, when it has one: what a store gives must agree. */
  readonly digest?: (item: number) => number | undefined;
  readonly breaker?: BreakerOptions;
  /** First part of every key, default "millrace". */
  readonly prefix?: string;
  readonly clock?: Clock;
}

/** Totals of a member. */
export interface MemberCounts {
  readonly name: string;
  readonly items: number;
  readonly offeredBytes: number;
  /** What its items take when all are there. */
  readonly plannedBytes: number;
  readonly hits: number;
  readonly hitBytes: number;
  readonly misses: number;
  readonly stored: number;
  /** The store was full. */
  readonly refused: number;
  /** Values that were not what they should be; replaced from storage. */
  readonly corrupt: number;
  readonly failures: number;
  /** Reads that did not ask because the breaker was open. */
  readonly skipped: number;
  readonly state: BreakerState;
  readonly opened: number;
}

type Counts = {
  -readonly [K in
    | "hits"
    | "hitBytes"
    | "misses"
    | "stored"
    | "refused"
    | "corrupt"
    | "failures"
    | "skipped"]: number;
};

interface Peer {
  readonly member: Member;
  readonly breaker: Breaker;
  readonly counts: Counts;
}

/** The checksum behind each value. */
const trailerBytes = 4;

export class PartitionedReader implements StorageReader {
  readonly name: string;
  readonly ownership: Ownership;
  private readonly options: PartitionedReaderOptions;
  private readonly peers: readonly Peer[];
  private readonly prefix: string;
  private reads = 0;
  private bytes = 0;

  /** Throws MillraceError CONFIG_INVALID. */
  constructor(options: PartitionedReaderOptions) {
    const { source, members, storage, prefix = "millrace", clock = new WallClock() } = options;
    if (!/^[\w.-]{1,64}$/.test(prefix))
      throw new MillraceError("CONFIG_INVALID", `${JSON.stringify(prefix)} is no prefix of keys`);
    this.options = options;
    this.ownership = assignOwners(source, members);
    this.name = `cache over ${members.length} servers, then ${storage.name}`;
    this.prefix = `${prefix}:${source.identity}:`;
    this.peers = members.map((member) => ({
      member,
      breaker: new Breaker(clock, options.breaker),
      counts: {
        hits: 0,
        hitBytes: 0,
        misses: 0,
        stored: 0,
        refused: 0,
        corrupt: 0,
        failures: 0,
        skipped: 0,
      },
    }));
  }

  room(extent: Extent): number {
    return Math.max(this.options.storage.room(extent), extent.bytes + trailerBytes);
  }

  async read(request: ReadRequest, into: Uint8Array, signal?: AbortSignal): Promise<ReadResult> {
    signal?.throwIfAborted();
    const peer = this.ownerOf(request.item);
    const key = this.key(request.key);
    const asked = peer !== null && (await this.ask(peer, key, request, into));
    if (asked === "hit") {
      this.reads++;
      this.bytes += request.extent.bytes;
      return { start: 0, storageBytes: 0 };
    }
    signal?.throwIfAborted();
    const result = await this.options.storage.read(request, into, signal);
    this.reads++;
    this.bytes += request.extent.bytes;
    // Stored before the read ends: what this epoch has read, the next one finds.
    if (peer !== null && asked === "absent") {
      const item = into.subarray(result.start, result.start + request.extent.bytes);
      await this.put(peer, key, item);
    }
    return result;
  }

  counts(): ReadCounts {
    return { ...this.options.storage.counts(), reads: this.reads, bytes: this.bytes };
  }

  /** How each member does, in the order of the list. */
  members(): readonly MemberCounts[] {
    return this.peers.map(({ member, breaker, counts }, i) => ({
      name: member.name,
      items: this.ownership.items[i] as number,
      offeredBytes: member.bytes,
      plannedBytes: this.ownership.bytes[i] as number,
      ...counts,
      state: breaker.state,
      opened: breaker.opened,
    }));
  }

  /** Deletes what this data set has in the stores, and nothing else. Rejects when a store cannot be reached. */
  async clear(): Promise<void> {
    const keys: string[][] = this.peers.map(() => []);
    for (let item = 0; item < this.options.source.length; item++)
      keys[this.ownership.owner[item] as number]?.push(this.key(this.options.source.key(item)));
    await Promise.all(this.peers.map(({ member }, i) => member.store.delete(keys[i] as string[])));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.peers.map(({ member }) => member.store[Symbol.asyncDispose]()));
    await this.options.storage[Symbol.asyncDispose]();
  }

  private key([a, b]: readonly [number, number]): string {
    return `${this.prefix}${a.toString(16)}.${b.toString(16)}`;
  }

  private ownerOf(item: number): Peer | null {
    const owner = this.ownership.owner[item] ?? nobody;
    return owner === nobody ? null : (this.peers[owner] as Peer);
  }

  private async ask(
    { member, breaker, counts }: Peer,
    key: string,
    { item, extent }: ReadRequest,
    into: Uint8Array,
  ): Promise<"hit" | "absent" | "unreachable"> {
    if (!breaker.allows()) {
      counts.skipped++;
      return "unreachable";
    }
    let length: number;
    try {
      length = await member.store.get(key, into);
      breaker.succeeded();
    } catch {
      breaker.failed();
      counts.failures++;
      return "unreachable";
    }
    if (length < 0) {
      counts.misses++;
      return "absent";
    }
    if (length === extent.bytes + trailerBytes && this.sound(item, into.subarray(0, length))) {
      counts.hits++;
      counts.hitBytes += extent.bytes;
      return "hit";
    }
    counts.corrupt++;
    return "absent";
  }

  private sound(item: number, value: Uint8Array): boolean {
    const end = value.length - trailerBytes;
    const crc = zlibCrc32(value.subarray(0, end));
    const expected = this.options.digest?.(item);
    return crc === trailer(value, end) && (expected === undefined || expected === crc);
  }

  private async put(
    { member, breaker, counts }: Peer,
    key: string,
    item: Uint8Array,
  ): Promise<void> {
    if (!breaker.allows()) return;
    const value = new Uint8Array(item.length + trailerBytes);
    value.set(item);
    new DataView(value.buffer).setUint32(item.length, zlibCrc32(item), true);
    try {
      const answer = await member.store.set(key, value);
      breaker.succeeded();
      if (answer === "stored") counts.stored++;
      else counts.refused++;
    } catch {
      breaker.failed();
      counts.failures++;
    }
  }
}

function trailer(value: Uint8Array, at: number): number {
  return new DataView(value.buffer, value.byteOffset + at, trailerBytes).getUint32(0, true);
}
