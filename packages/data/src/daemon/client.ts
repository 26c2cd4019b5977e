/** A job's side of the preparation service: a BatchSource over the ring. */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { InvariantError, MillraceError } from "@millrace/core";
import type { BatchSource, Loan, SourceState, StallReport } from "@millrace/core/job";
import { type Batch, type SampleSpec, typedView } from "../batch/batch.ts";
import { waitFor } from "../loader/loader.ts";
import { machineSeconds } from "./machine-clock.ts";
import {
  type Delivery,
  type FromService,
  LineReader,
  type PackedDelivery,
  protocolVersion,
  type ToService,
  unpackMessage,
  type Welcome,
} from "./protocol.ts";
import { Ring, ringLayout } from "./ring.ts";

export interface JoinOptions {
  readonly socket: string;
  /** Where to begin; default where the other jobs are. Positions are borders of batches. */
  readonly at?: SourceState;
  /** What the job counts on; the service refuses it when something differs. */
  readonly expect?: (ToService & { readonly kind: "join" })["expect"];
  /** How long a service that ended is waited for before `next` rejects; default 30 s, 0: not at all. */
  readonly reconnectSeconds?: number;
}

interface Connection {
  readonly socket: Socket;
  readonly ring: Ring;
  readonly welcome: Welcome;
  lost: boolean;
  /** Batches that the consumer still holds; the ring stays mapped for them. */
  loans: number;
}

/**
 * Batches that the service prepared. When the service ends, the next one is joined at the same place: nothing is seen
 * twice, nothing is left out. Batches on loan stay valid over that.
 */
export class CoordinatedSource implements BatchSource<Batch> {
  readonly spec: SampleSpec;
  readonly length: number;
  private readonly options: JoinOptions;
  private connection: Connection;
  private place: SourceState;
  private session = 0;
  private readonly queue: Delivery[] = [];
  private waker: (() => void) | null = null;
  private failure: Error | null = null;
  /** A move is said when nothing of the old place is on loan, since the service then gives its slots away. */
  private moving = false;
  private closed = false;
  private wished: { readonly cacheBytes?: number; readonly producers?: number } = {};
  private readonly totals = {
    batches: 0,
    samples: 0,
    waitSeconds: 0,
    fetchSeconds: 0,
    prepSeconds: 0,
  };

  private constructor(options: JoinOptions, connection: Connection) {
    this.options = options;
    this.connection = connection;
    this.spec = connection.welcome.spec;
    this.length = connection.welcome.length;
    this.place = connection.welcome.at;
  }

  /** Joins. Throws MillraceError DATA_SERVICE_FAILED when there is no service or it refuses. */
  static async join(options: JoinOptions): Promise<CoordinatedSource> {
    let source: CoordinatedSource | null = null;
    const early: FromService[] = [];
    const connection = await open(options, options.at, (message, from) =>
      source === null ? early.push(message) : source.hear(message, from),
    );
    source = new CoordinatedSource(options, connection);
    source.watch(connection);
    for (const message of early) source.hear(message, connection);
    return source;
  }

  async next(signal?: AbortSignal): Promise<Loan<Batch> | null> {
    signal?.throwIfAborted();
    if (this.closed) throw new InvariantError("the source was closed");
    const began = machineSeconds();
    for (;;) {
      const { seed, epoch, position } = this.place;
      if (position >= this.length) {
        this.place = { seed, epoch: epoch + 1, position: 0 };
        return null;
      }
      const delivery = await this.head(signal);
      if (delivery.error !== undefined)
        throw new MillraceError("SAMPLE_BAD", delivery.error, {
          hint: "serve with --bad-samples skip or replace",
        });
      this.queue.shift();
      this.place = { seed, epoch, position: position + delivery.planned };
      if (delivery.samples === 0) {
        this.used(this.connection, delivery);
        continue;
      }
      this.account(began, delivery);
      return this.lend(delivery);
    }
  }

  state(): SourceState {
    return this.place;
  }

  seek(state: SourceState): void {
    if (!(state.position >= 0 && state.position <= this.length))
      throw new InvariantError(`position ${state.position} of an epoch of ${this.length} samples`);
    this.place = { ...state };
    this.queue.length = 0;
    this.session++;
    this.moving = true;
    this.move();
  }

  setCacheBytes(bytes: number): void {
    this.wish({ cacheBytes: bytes });
  }

  /** Producers of the service for this job's part, at least 1; from the next epoch on, as with the cache. */
  setWorkers(count: number): void {
    this.wish({ producers: count });
  }

  stalls(): StallReport {
    return { ...this.totals };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true;
    this.connection.lost = true;
    this.connection.socket.destroy();
    if (this.connection.loans === 0) this.connection.ring[Symbol.dispose]();
  }

  private move(): void {
    if (!this.moving || this.connection.lost || this.connection.loans > 0) return;
    this.moving = false;
    this.say({ kind: "move", session: this.session, at: this.place });
  }

  /** Kept, since the next service has not heard it. */
  private wish(wish: { readonly cacheBytes?: number; readonly producers?: number }): void {
    this.wished = { ...this.wished, ...wish };
    this.say({ kind: "wish", ...this.wished });
  }

  private say(message: ToService): void {
    if (!this.connection.lost) this.connection.socket.write(`${JSON.stringify(message)}\n`);
  }

  private async head(signal: AbortSignal | undefined): Promise<Delivery> {
    for (;;) {
      const delivery = this.queue[0];
      if (delivery !== undefined) return delivery;
      if (this.failure !== null) throw this.failure;
      const woken = new Promise<void>((resolve) => {
        this.waker = resolve;
      });
      await waitFor(woken, signal);
    }
  }

  private hear(message: FromService, from: Connection): void {
    if (from !== this.connection || from.lost) return;
    if (message.kind === "refused")
      this.fail(new MillraceError("DATA_SERVICE_FAILED", message.message));
    if (message.kind !== "batch" || message.session !== this.session) return;
    this.queue.push(message);
    this.waker?.();
  }

  /** Until a batch's last item was there, its job waited for bytes; the rest was for preparation, or for the service. */
  private account(began: number, { fetchedAt }: Delivery): void {
    const waited = machineSeconds() - began;
    const fetch = Math.min(Math.max(0, fetchedAt - began), waited);
    this.totals.waitSeconds += waited;
    this.totals.fetchSeconds += fetch;
    this.totals.prepSeconds += waited - fetch;
  }

  private lend(delivery: Delivery): Loan<Batch> {
    const { connection } = this;
    const { slot, generation, sequence, samples, epoch, position } = delivery;
    const { ring } = connection;
    if (!ring.holds(slot, generation, sequence))
      throw new InvariantError(`slot ${slot} does not hold batch ${sequence}`);
    const elements = samples * this.spec.shape.reduce((a, b) => a * b, 1);
    this.totals.batches++;
    this.totals.samples += samples;
    let released = false;
    connection.loans++;
    return {
      batch: {
        spec: this.spec,
        data: typedView(this.spec.type, ring.buffer, ring.slotAt(slot), elements),
        labels: ring.labels(slot, samples),
        items: ring.items(slot, samples),
        epoch,
        position,
      },
      samples,
      release: () => {
        if (released) throw new InvariantError("the batch was released already");
        released = true;
        connection.loans--;
        this.used(connection, delivery);
        if (connection.lost && connection.loans === 0) connection.ring[Symbol.dispose]();
        this.move();
      },
    };
  }

  private used(connection: Connection, { session, seed, sequence }: Delivery): void {
    if (connection === this.connection) this.say({ kind: "used", session, seed, sequence });
  }

  private watch(connection: Connection): void {
    const lost = (): void => {
      if (connection.lost) return;
      connection.lost = true;
      this.queue.length = 0;
      if (connection.loans === 0) connection.ring[Symbol.dispose]();
      if (!this.closed) void this.rejoin();
    };
    if (connection.socket.destroyed) lost();
    else connection.socket.once("close", lost);
  }

  private async rejoin(): Promise<void> {
    const until = performance.now() + 1000 * (this.options.reconnectSeconds ?? 30);
    const { identity, transform, batchSize } = this.connection.welcome;
    const expect = { identity, transform, batchSize };
    for (let pause = 20; !this.closed; pause = Math.min(500, 2 * pause)) {
      try {
        const at = this.place;
        const early: FromService[] = [];
        let ours: Connection | null = null;
        const connection = await open({ ...this.options, expect }, at, (message, from) =>
          ours === null ? early.push(message) : this.hear(message, from),
        );
        ours = connection;
        this.connection = connection;
        this.session = 0;
        this.moving = false;
        if (this.closed) {
          connection.socket.destroy();
          return;
        }
        if (this.place !== at) this.seek(this.place);
        if (Object.keys(this.wished).length > 0) this.wish({});
        for (const message of early) this.hear(message, connection);
        this.watch(connection);
        return;
      } catch (error) {
        if (performance.now() > until || (error as Refusal).refused === true) {
          this.fail(error as Error);
          return;
        }
        await sleep(pause);
      }
    }
  }

  private fail(error: Error): void {
    this.failure = error;
    this.waker?.();
  }
}

type Refusal = { readonly refused?: boolean };

/** Connects, joins and maps the ring. */
function open(
  { socket: path, expect }: JoinOptions,
  at: SourceState | undefined,
  hear: (message: FromService, from: Connection) => void,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const lines = new LineReader<FromService | PackedDelivery>();
    let connection: Connection | null = null;
    const fail = (message: string, refused: boolean): void => {
      socket.destroy();
      const error = new MillraceError("DATA_SERVICE_FAILED", message, {
        hint: "start it with millrace data serve, or name its --socket",
      });
      reject(Object.assign(error, { refused }));
    };
    socket.setEncoding("utf8");
    socket.on("error", (error) => fail(`no service answers on ${path}: ${error.message}`, false));
    socket.on("close", () => fail(`the service on ${path} closed the connection`, false));
    socket.on("connect", () => {
      const join: ToService = {
        kind: "join",
        version: protocolVersion,
        ...(at !== undefined && { at }),
        ...(expect !== undefined && { expect }),
      };
      socket.write(`${JSON.stringify(join)}\n`);
    });
    socket.on("data", (chunk: string) => {
      for (const line of lines.push(chunk)) {
        const message = unpackMessage(line);
        if (connection !== null) hear(message, connection);
        else if (message.kind === "refused") fail(message.message, true);
        else if (message.kind === "welcome") {
          try {
            const layout = ringLayout(message.spec, message.batchSize, message.slots);
            connection = {
              socket,
              ring: new Ring(message.ring, layout),
              welcome: message,
              lost: false,
              loans: 0,
            };
            resolve(connection);
          } catch (error) {
            fail(error instanceof Error ? error.message : String(error), false);
          }
        }
      }
    });
  });
}
