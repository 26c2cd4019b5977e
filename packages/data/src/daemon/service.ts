/**
 * The preparation service of a server: owns the ring and its producers, lets jobs join over a unix socket, and carries
 * out what the coordinator decides. Everything it knows of jobs is in their places, which they bring along: after a crash
 * they join the next service where they were.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { availableParallelism } from "node:os";
import { contentHash } from "@millrace/core";
import { peerOf } from "@millrace/system";
import { outputSpec } from "../prep/make-transform.ts";
import { Sampler } from "../sampler/sampler.ts";
import type { Source } from "../source/source.ts";
import { type BatchId, Coordinator, type Lease } from "./coordinator.ts";
import { Crew, type CrewEvents } from "./crew.ts";
import { Mailbox, mailJobs } from "./mailbox.ts";
import { Places } from "./places.ts";
import type { ProducerSetup } from "./producer-protocol.ts";
import {
  type Delivery,
  type FromService,
  LineReader,
  type Place,
  packDelivery,
  protocolVersion,
  type ServiceStatus,
  type ToService,
  type Welcome,
} from "./protocol.ts";
import { type Ring, RingFolder, ringLayout, slotsWithin } from "./ring.ts";
import type { ServiceOptions } from "./service-options.ts";
import { Tally } from "./tally.ts";
import { checkJoin } from "./welcome.ts";
import { type Resources, Wishes } from "./wishes.ts";

interface JobConnection {
  readonly socket: Socket;
  readonly name: number;
  readonly mail: Mailbox;
  session: number;
}

/** Use `startService`. Disposal ends producers and removes socket and ring. */
export class DataService implements AsyncDisposable {
  readonly socket: string;
  readonly source: Source;
  readonly ring: Ring;
  /** Rejects when producers cannot start; resolves at disposal. */
  readonly ended: Promise<void>;
  private readonly options: ServiceOptions;
  private readonly folder: RingFolder;
  private readonly server: Server;
  private readonly coordinator: Coordinator;
  private readonly sampler: Sampler;
  private readonly at: Places;
  private readonly transform: string;
  private readonly jobs = new Map<number, JobConnection>();
  /** Next batch of each job, for those that join where the others are. */
  private readonly places = new Map<number, BatchId>();
  private readonly crew: Crew;
  private readonly timer: NodeJS.Timeout;
  private resources: Resources;
  private closing = false;
  private readonly end: { resolve: () => void; reject: (error: Error) => void };
  private readonly tally = new Tally();
  private tickets = 0;
  private readonly wishes = new Wishes();

  constructor(options: ServiceOptions, source: Source, socket: string) {
    const { batchSize, shuffle = true, dropLast = false, transform } = options;
    const { rank = 0, world = 1 } = options;
    this.options = options;
    this.source = source;
    this.socket = socket;
    const { cacheBytes = 0, producers = availableParallelism() } = options;
    this.resources = { cacheBytes, producers };
    this.transform = contentHash(transform);
    this.sampler = new Sampler({ length: source.length, shuffle, rank, world });
    this.at = new Places(this.sampler.length, batchSize, dropLast);
    const spec = outputSpec(transform);
    const eight = ringLayout(spec, batchSize, 8).fileBytes;
    const slots = slotsWithin(spec, batchSize, options.stagingBytes ?? eight);
    this.folder = new RingFolder(contentHash(socket).slice(0, 12), options.sharedFolder);
    try {
      this.ring = this.folder.create(ringLayout(spec, batchSize, slots));
    } catch (error) {
      this.folder[Symbol.dispose]();
      throw error;
    }
    this.coordinator = new Coordinator({
      slots,
      leasesPerProducer: 2,
      detachSeconds: options.detachSeconds ?? null,
      attempts: 3,
    });
    let settle: DataService["end"] = { resolve: () => {}, reject: () => {} };
    this.ended = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.ended.catch(() => {});
    this.end = settle;
    this.server = createServer((connection) => this.accept(connection));
    this.timer = setInterval(() => {
      this.coordinator.tick(this.now());
      this.act();
    }, 250);
    this.crew = new Crew(producers, this.setup(), this.crewEvents());
  }

  /** Starts listening; the socket is this user's alone. */
  async listen(): Promise<void> {
    const before = process.umask(0o177);
    try {
      await new Promise<void>((yes, no) => {
        this.server.once("error", no);
        this.server.listen(this.socket, yes);
      });
      chmodSync(this.socket, 0o600);
    } finally {
      process.umask(before);
    }
  }

  /** Process ids of the producers that run now, or of those that prepare already. */
  producerPids(ready = false): number[] {
    return this.crew.pids(ready);
  }

  status(): ServiceStatus {
    const slots = { free: 0, leased: 0, ready: 0 };
    for (let i = 0; i < this.ring.layout.slots; i++) slots[this.coordinator.slot(i).state]++;
    return {
      kind: "status",
      jobs: this.jobs.size,
      producers: this.crew.size,
      restarts: this.crew.replaced,
      slots,
      ...this.tally.report(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    clearInterval(this.timer);
    for (const { socket } of this.jobs.values()) socket.destroy();
    const closed = new Promise((resolve) => this.server.close(resolve));
    await this.crew[Symbol.asyncDispose]();
    await closed;
    this.ring[Symbol.dispose]();
    this.folder[Symbol.dispose]();
    rmSync(this.socket, { force: true });
    this.end.resolve();
  }

  private now(): number {
    return performance.now() / 1000;
  }

  // Jobs.

  private accept(socket: Socket): void {
    const lines = new LineReader<ToService>();
    let job: JobConnection | null = null;
    const close = (): void => {
      if (job !== null && this.jobs.delete(job.name)) {
        this.coordinator.leave(job.name, this.now());
        this.wishes.leave(job.name);
      }
      job = null;
      this.act();
    };
    socket.setEncoding("utf8");
    socket.on("error", () => {});
    socket.on("close", close);
    try {
      const peer = peerOf(socket);
      if (peer.uid !== process.getuid?.()) throw new Error(`user ${peer.uid} may not join`);
    } catch (error) {
      refuse(socket, error);
      return;
    }
    socket.on("data", (chunk: string) => {
      try {
        for (const message of lines.push(chunk)) {
          if (message.kind === "join" && job === null) job = this.join(socket, message);
          else if (message.kind === "status") send(socket, this.status());
          else if (job !== null) this.hear(job, message);
          else throw new Error("a job joins before anything else");
        }
        this.act();
      } catch (error) {
        refuse(socket, error);
      }
    });
  }

  private join(socket: Socket, message: ToService & { readonly kind: "join" }): JobConnection {
    const { identity } = this.source;
    const { batchSize } = this.options;
    checkJoin(message, { identity, batchSize, transform: this.transform });
    let name = 0;
    while (this.jobs.has(name)) name++;
    if (name >= mailJobs) throw new Error(`${mailJobs} jobs have joined, which is the most`);
    const at = message.at ?? this.front();
    const id = this.at.batchAt(at);
    const { layout, buffer } = this.ring;
    const mail = new Mailbox(buffer, layout.mailAt, name, ++this.tickets);
    const welcome: Welcome = {
      kind: "welcome",
      version: protocolVersion,
      job: name,
      ring: this.ring.path,
      slots: layout.slots,
      batchSize,
      spec: layout.spec,
      length: this.at.length,
      identity,
      transform: this.transform,
      at,
      mail: { at: mail.at, ticket: mail.ticket },
    };
    send(socket, welcome);
    const job = { socket, name, mail, session: 0 };
    this.jobs.set(name, job);
    this.places.set(name, id);
    this.coordinator.join(name, id, this.now());
    return job;
  }

  private front(): Place {
    let best: BatchId = { seed: this.options.seed ?? 0, sequence: 0 };
    for (const name of this.jobs.keys()) {
      const place = this.places.get(name) as BatchId;
      if (place.seed === best.seed && place.sequence > best.sequence) best = place;
    }
    return { seed: best.seed, ...this.at.placeOf(best) };
  }

  private hear(job: JobConnection, message: ToService): void {
    const now = this.now();
    if (message.kind === "used") {
      if (message.session !== job.session) return;
      const { seed, sequence } = message;
      this.coordinator.used(job.name, { seed, sequence }, now);
      this.places.set(job.name, { seed, sequence: sequence + 1 });
      this.tally.used++;
      this.crossed(Math.floor((sequence + 1) / this.at.batchesPerEpoch));
    } else if (message.kind === "move") {
      // What was decided for the old place is said before the new one counts.
      this.act();
      job.session = message.session;
      this.coordinator.leave(job.name, now);
      const id = this.at.batchAt(message.at);
      this.places.set(job.name, id);
      this.coordinator.join(job.name, id, now);
    } else if (message.kind === "wish") {
      const { cacheBytes, producers } = message;
      const place = this.places.get(job.name) as BatchId;
      this.wishes.say(
        job.name,
        {
          ...(cacheBytes !== undefined && { cacheBytes }),
          ...(producers !== undefined && { producers }),
        },
        Math.floor(place.sequence / this.at.batchesPerEpoch),
      );
    } else throw new Error(`a message of kind ${JSON.stringify(message.kind)}`);
  }

  // Producers.

  private setup(): ProducerSetup {
    const { source, transform, badSamples = "replace", cacheFolder = null } = this.options;
    return {
      kind: "setup",
      source,
      identity: this.source.identity,
      transform,
      badSamples,
      cacheBytes: this.resources.cacheBytes,
      cacheOrLess: this.resources.cacheBytes !== (this.options.cacheBytes ?? 0),
      cacheFolder,
      inFlight: this.options.inFlight ?? 8,
      arenaBytes: this.options.arenaBytes ?? 64 * 2 ** 20,
      peers: this.options.peers ?? null,
      ring: this.ring.path,
      layout: this.ring.layout,
    };
  }

  private crewEvents(): CrewEvents {
    return {
      ready: (name) => {
        this.coordinator.addProducer(name, this.now());
        this.act();
      },
      made: (name, message) => {
        const { slot, generation, samples, error, fetchedAt } = message;
        this.tally.made(name, message);
        const outcome = error === null ? { samples, fetchedAt } : { error };
        this.coordinator.produced(name, slot, generation, outcome, this.now());
        this.act();
      },
      gone: (name) => {
        this.tally.gone(name);
        this.coordinator.producerGone(name, this.now());
        this.act();
      },
      broken: (error) => {
        this.end.reject(error);
        void this[Symbol.asyncDispose]();
      },
    };
  }

  /** A new bound for the cache needs the cache alone: producers end between epochs and start again with it. */
  private crossed(epoch: number): void {
    const wanted = this.wishes.due(epoch, this.resources);
    if (wanted === null) return;
    this.resources = wanted;
    this.coordinator.setPaused(true, this.now());
  }

  private restartWhenQuiet(): void {
    if (!this.coordinator.isPaused || !this.coordinator.quiet) return;
    this.coordinator.setPaused(false, this.now());
    this.crew.restart(this.setup(), this.resources.producers);
  }

  // What the coordinator decided.

  private act(): void {
    if (this.closing) return;
    this.restartWhenQuiet();
    const actions = this.coordinator.take();
    if (actions.length > 0) this.writeHeaders();
    for (const action of actions) {
      if (action.kind === "lease") this.lease(action.producer, action.lease);
      else if (action.kind === "kill") this.crew.kill(action.producer);
      else if (action.kind === "detached") this.tally.detached++;
      else {
        const job = this.jobs.get(action.job);
        if (job === undefined) continue;
        const { slot, generation, id, outcome } = action;
        const place = this.at.placeOf(id);
        const delivery: Delivery = {
          kind: "batch",
          session: job.session,
          slot,
          generation,
          ...id,
          ...place,
          planned: this.at.planned(place.position),
          ...("error" in outcome ? { samples: 0, fetchedAt: 0, error: outcome.error } : outcome),
        };
        job.mail.post(delivery);
        job.socket.write(`${JSON.stringify(packDelivery(delivery))}\n`);
      }
    }
  }

  private lease(producer: number, lease: Lease): void {
    const { epoch, position } = this.at.placeOf(lease);
    const end = position + this.at.planned(position);
    const items = Int32Array.from(this.sampler.order(lease.seed, epoch).subarray(position, end));
    this.crew.send(producer, { kind: "lease", lease, epoch, items });
  }

  private writeHeaders(): void {
    for (let i = 0; i < this.ring.layout.slots; i++) {
      const { state, generation, id, outcome, jobs, producer } = this.coordinator.slot(i);
      this.ring.writeHeader(i, {
        state,
        generation,
        sequence: Math.max(0, id.sequence),
        samples: "samples" in outcome ? outcome.samples : 0,
        jobs,
        pid: this.crew.pid(producer),
      });
    }
  }
}

function send(socket: Socket, message: FromService): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

function refuse(socket: Socket, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  socket.end(`${JSON.stringify({ kind: "refused", message } satisfies FromService)}\n`);
}
