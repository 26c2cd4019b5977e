/**
 * Server-sent events to one reader: events of one turn of the event loop (one engine step) leave in one write, a slow
 * reader's events wait in bounded memory and stall nobody, and silence is filled by keep-alives.
 */
import type { Exchange } from "./exchange.ts";
import type { ServerOptions } from "./options.ts";

/** Bytes handed to the socket at once; its "drain" then tells that the reader took them. */
const sliceBytes = 16 * 1024;
const longestSilenceSeconds = 15;

/** The options of the stream, and what it calls when it gives up on its reader. */
export interface SseSettings
  extends Pick<
    ServerOptions,
    "keepAlive" | "keepAliveSeconds" | "maxPendingBytes" | "slowReaderSeconds"
  > {
  /** The event's JSON for keep-alive "chunk". */
  readonly emptyChunk: () => unknown;
  readonly onSlowReader: () => void;
  /** So many events have gone to the socket. */
  readonly onWritten?: (events: number) => void;
}

/** One open stream. Until `open` nothing has been sent and the request can still be answered by a status. */
export class SseStream {
  readonly #exchange: Exchange;
  readonly #settings: SseSettings;
  /** Events that the socket has not got yet, oldest first. */
  #pending: string[] = [];
  #pendingBytes = 0;
  /** Events, comments not counted, that were added and that went to the socket. */
  #added = 0;
  #written = 0;
  #blocked = false;
  #scheduled = false;
  #ending = false;
  #gone = false;
  #silence: NodeJS.Timeout | undefined;
  #stuck: NodeJS.Timeout | undefined;

  constructor(exchange: Exchange, settings: SseSettings) {
    this.#exchange = exchange;
    this.#settings = settings;
    exchange.outgoing.on("drain", () => {
      this.#blocked = false;
      clearTimeout(this.#stuck);
      this.#flush();
    });
    exchange.outgoing.on("close", () => {
      this.#gone = true;
      this.#pending = [];
      this.#pendingBytes = 0;
      clearTimeout(this.#silence);
      clearTimeout(this.#stuck);
    });
    // A request that waits long for its turn is opened by its first keep-alive, before proxies lose patience.
    this.#restartSilence();
  }

  /** Whether headers are out, so that errors must come as events. */
  get opened(): boolean {
    return this.#exchange.outgoing.headersSent;
  }

  /** Sends status and headers now. */
  open(): void {
    const { outgoing } = this.#exchange;
    if (outgoing.headersSent || this.#gone) return;
    outgoing.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    });
    outgoing.flushHeaders();
    this.#restartSilence();
  }

  /** Sends `value` as one event with the others of this turn; returns its number in the stream, from 0. */
  event(value: unknown): number {
    this.#add(`data: ${JSON.stringify(value)}\n\n`);
    return this.#added++;
  }

  /** Resolves when all events so far have gone to the socket, or the reader is gone. */
  async flushed(): Promise<void> {
    while (this.#pending.length > 0 && !this.#gone)
      await new Promise<void>((resolve) => {
        const { outgoing } = this.#exchange;
        const done = () => {
          outgoing.off("close", done);
          outgoing.off("drain", done);
          resolve();
        };
        outgoing.once("close", done);
        if (this.#blocked) outgoing.once("drain", done);
        else setImmediate(done);
      });
  }

  /** Sends [DONE] and ends; resolves when the reader has it all or is gone. */
  async end(): Promise<void> {
    this.open();
    this.#add("data: [DONE]\n\n");
    this.#ending = true;
    clearTimeout(this.#silence);
    const { outgoing } = this.#exchange;
    if (this.#gone || outgoing.destroyed) return;
    await new Promise<void>((resolve) => {
      outgoing.once("close", () => resolve());
      outgoing.once("finish", () => resolve());
    });
    clearTimeout(this.#stuck);
  }

  /** Stops the timers of a stream that was never opened. */
  abandon(): void {
    clearTimeout(this.#silence);
  }

  #add(text: string): void {
    if (this.#gone || this.#ending) return;
    this.#pending.push(text);
    this.#pendingBytes += Buffer.byteLength(text);
    if (this.#pendingBytes > this.#settings.maxPendingBytes) {
      this.#giveUp();
      return;
    }
    if (this.#scheduled || this.#blocked) return;
    this.#scheduled = true;
    // All news of a step arrive in one turn; they leave together at its end.
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const { outgoing } = this.#exchange;
    if (this.#gone) return;
    this.open();
    while (!this.#blocked && this.#pending.length > 0) {
      const slice = this.#takeSlice();
      this.#pendingBytes -= Buffer.byteLength(slice);
      if (!outgoing.write(slice)) this.#block();
      this.#settings.onWritten?.(this.#written);
      this.#restartSilence();
    }
    if (this.#ending && this.#pending.length === 0 && !outgoing.writableEnded) {
      // What the socket still holds must go too; a reader that takes nothing is not waited for.
      if (!this.#blocked) this.#block();
      outgoing.end();
    }
  }

  #takeSlice(): string {
    let bytes = 0;
    let count = 0;
    while (count < this.#pending.length && (count === 0 || bytes < sliceBytes)) {
      const text = this.#pending[count] ?? "";
      bytes += text.length;
      if (text.startsWith("data:")) this.#written++;
      count++;
    }
    return this.#pending.splice(0, count).join("");
  }

  #block(): void {
    this.#blocked = true;
    clearTimeout(this.#stuck);
    this.#stuck = setTimeout(() => this.#giveUp(), this.#settings.slowReaderSeconds * 1e3);
  }

  #giveUp(): void {
    this.#gone = true;
    this.#settings.onSlowReader();
    this.#exchange.outgoing.destroy();
  }

  #restartSilence(): void {
    const { keepAlive, keepAliveSeconds } = this.#settings;
    if (keepAlive === "off" || this.#ending) return;
    if (this.#silence !== undefined) {
      this.#silence.refresh();
      return;
    }
    const seconds = Math.min(longestSilenceSeconds, keepAliveSeconds);
    this.#silence = setTimeout(() => {
      this.#silence = undefined;
      this.#restartSilence();
      if (this.#blocked || this.#pending.length > 0) return;
      if (keepAlive === "comment") this.#add(":\n\n");
      else this.event(this.#settings.emptyChunk());
    }, seconds * 1e3);
  }
}
