/** The fetch stage: misses in the order they will be needed, k reads in flight, into an arena of bounded size. */
import { MillraceError } from "@millrace/core";
import type { Source } from "../source/source.ts";
import type { Arena } from "./arena.ts";
import type { StorageReader } from "./storage-reader.ts";

/** An item that was asked for. `release` it exactly once, whether it arrived or not. */
export interface Fetched {
  readonly item: number;
  /** The bytes in the arena, when they have arrived. */
  readonly bytes: Uint8Array | null;
  readonly offset: number;
  readonly error: Error | null;
}

interface Ticket extends Fetched {
  bytes: Uint8Array | null;
  offset: number;
  error: Error | null;
  block: number;
  blockBytes: number;
  state: "waiting" | "reading" | "here" | "gone";
  /** Released while its read was under way: the block goes back when the read ends. */
  unwanted: boolean;
  readonly arrived: (ticket: Fetched) => void;
}

export interface FetcherOptions {
  readonly source: Source;
  readonly reader: StorageReader;
  readonly arena: Arena;
  /** Reads at once, at least 1. */
  readonly inFlight: number;
}

/** Reads start strictly in the order of requests, so that what is needed first can never wait for memory of later items. */
export class Fetcher {
  private readonly options: FetcherOptions;
  private readonly waiting: Ticket[] = [];
  private reading = 0;
  private stopped = new AbortController();

  constructor(options: FetcherOptions) {
    this.options = options;
  }

  /** Nothing waits and nothing is being read. */
  get idle(): boolean {
    return this.waiting.length === 0 && this.reading === 0;
  }

  /** Asks for an item; `arrived` is called once with its bytes or the error, never before this returns. */
  request(item: number, arrived: (ticket: Fetched) => void): Fetched {
    const ticket: Ticket = {
      item,
      bytes: null,
      offset: 0,
      error: null,
      block: -1,
      blockBytes: 0,
      state: "waiting",
      unwanted: false,
      arrived,
    };
    this.waiting.push(ticket);
    queueMicrotask(() => this.pump());
    return ticket;
  }

  release(fetched: Fetched): void {
    const ticket = fetched as Ticket;
    if (ticket.state === "waiting") {
      const at = this.waiting.indexOf(ticket);
      if (at >= 0) this.waiting.splice(at, 1);
      ticket.state = "gone";
    } else if (ticket.state === "reading") ticket.unwanted = true;
    else this.giveBack(ticket);
    this.pump();
  }

  /** Ends the reads that are under way and starts no others. */
  stop(): void {
    this.stopped.abort(new Error("the loader was closed"));
    this.waiting.length = 0;
  }

  private pump(): void {
    const { arena, inFlight, reader, source } = this.options;
    while (this.reading < inFlight && !this.stopped.signal.aborted) {
      const ticket = this.waiting[0];
      if (ticket === undefined) return;
      const extent = source.extent(ticket.item);
      const room = reader.room(extent);
      if (room > arena.bytes) {
        this.waiting.shift();
        ticket.error = new MillraceError(
          "SAMPLE_BAD",
          `${source.name(ticket.item)} has ${extent.bytes} bytes and the read buffers ${arena.bytes} in all`,
          { hint: "raise arenaBytes" },
        );
        ticket.state = "here";
        queueMicrotask(() => ticket.arrived(ticket));
        continue;
      }
      const block = arena.take(room);
      if (block < 0) return;
      this.waiting.shift();
      ticket.block = block;
      ticket.blockBytes = room;
      ticket.state = "reading";
      this.reading++;
      const request = { item: ticket.item, key: source.key(ticket.item), extent };
      reader.read(request, arena.view(block, room), this.stopped.signal).then(
        ({ start }) => {
          ticket.offset = block + start;
          this.arrive(ticket, arena.view(block + start, extent.bytes), null);
        },
        (error: unknown) =>
          this.arrive(ticket, null, error instanceof Error ? error : new Error(String(error))),
      );
    }
  }

  private arrive(ticket: Ticket, bytes: Uint8Array | null, error: Error | null): void {
    this.reading--;
    ticket.bytes = bytes;
    ticket.error = error;
    ticket.state = "here";
    if (ticket.unwanted) this.giveBack(ticket);
    else if (!this.stopped.signal.aborted) ticket.arrived(ticket);
    this.pump();
  }

  private giveBack(ticket: Ticket): void {
    if (ticket.state === "gone") return;
    ticket.state = "gone";
    ticket.bytes = null;
    if (ticket.block >= 0) this.options.arena.give(ticket.block, ticket.blockBytes);
  }
}
