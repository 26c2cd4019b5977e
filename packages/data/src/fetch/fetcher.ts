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
  readonly order: number;
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
  /** The lowest order that anything still waits for: what is needed next. */
  readonly first: () => number;
}

/** Share of the arena that only what is needed next may use. */
const reserve = 0.25;

/**
 * Reads start in the order of what they are for. A part of the arena is kept for what is needed next: an item that takes
 * a bad one's place comes late, and must not wait for memory that is freed only after it.
 */
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
  request(item: number, order: number, arrived: (ticket: Fetched) => void): Fetched {
    const ticket: Ticket = {
      item,
      order,
      bytes: null,
      offset: 0,
      error: null,
      block: -1,
      blockBytes: 0,
      state: "waiting",
      unwanted: false,
      arrived,
    };
    let at = this.waiting.length;
    while (at > 0 && (this.waiting[at - 1] as Ticket).order > order) at--;
    this.waiting.splice(at, 0, ticket);
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

  /** Starts what may start; called by itself, and from outside when `first` has changed. */
  pump(): void {
    const { arena, inFlight, reader, source, first } = this.options;
    while (this.reading < inFlight && !this.stopped.signal.aborted) {
      const ticket = this.waiting[0];
      if (ticket === undefined) return;
      const extent = source.extent(ticket.item);
      const room = reader.room(extent);
      if (room > arena.bytes * reserve) {
        this.waiting.shift();
        ticket.error = new MillraceError(
          "SAMPLE_BAD",
          `${source.name(ticket.item)} has ${extent.bytes} bytes, more than a quarter of the ${arena.bytes} of read buffers`,
          { hint: "raise arenaBytes" },
        );
        ticket.state = "here";
        queueMicrotask(() => ticket.arrived(ticket));
        continue;
      }
      const urgent = ticket.order <= first();
      if (!urgent && arena.usedBytes + room > arena.bytes * (1 - reserve)) return;
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
