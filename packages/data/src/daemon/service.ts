/**
 * The preparation service of a server: owns the ring and its producers, lets jobs join over a unix socket, and carries
 * out what the coordinator decides. Everything it knows of jobs is in their places, which they bring along: after a crash
 * they join the next service where they were.
 */
import { type ChildProcess, fork } from "node:child_process";
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer, type Server, type Socket } from "node:net";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { contentHash, type ErrorCode, errorCodes, MillraceError } from "@millrace/core";
import { peerOf, sharedFolder } from "@millrace/system";
import type { BadSamplePolicy } from "../loader/bad-samples.ts";
import { outputSpec } from "../prep/make-transform.ts";
import type { TransformSpec } from "../prep/transform.ts";
import { Sampler } from "../sampler/sampler.ts";
import { type OpenOptions, openSource } from "../source/open.ts";
import type { Source } from "../source/source.ts";
import { type BatchId, Coordinator, type Lease } from "./coordinator.ts";
import type { FromProducer, ProducerSetup, ToProducer } from "./producer-protocol.ts";
import {
  type FromService,
  LineReader,
  type Place,
  protocolVersion,
  type ServiceStatus,
  type ToService,
  type Welcome,
} from "./protocol.ts";
import { type Ring, RingFolder, ringLayout, slotsWithin } from "./ring.ts";

export interface ServiceOptions {
  readonly source: OpenOptions;
  readonly transform: TransformSpec;
  readonly batchSize: number;
  /** Seed of jobs that name no place of their own. Default 0. */
  readonly seed?: number;
  readonly shuffle?: boolean;
  readonly dropLast?: boolean;
  /** Producer processes, default one per core. */
  readonly producers?: number;
  /** Bound of the staging ring, bytes; default eight batches. */
  readonly stagingBytes?: number;
  /** Bound of the byte cache; default 0: none. */
  readonly cacheBytes?: number;
  readonly cacheFolder?: string;
  /** Default: in this user's folder of shared memory, named after the data set. */
  readonly socket?: string;
  /** Default replace: one job's choice should not end the others. */
  readonly badSamples?: BadSamplePolicy;
  /** Seconds after which a job that holds others up loses its share; null (default): they wait. */
  readonly detachSeconds?: number | null;
  readonly inFlight?: number;
  readonly arenaBytes?: number;
  /** Folder for shared memory, default this user's in /dev/shm. */
  readonly sharedFolder?: string;
}

interface JobConnection {
  readonly socket: Socket;
  readonly name: number;
  session: number;
}

interface ProducerProcess {
  readonly child: ChildProcess;
  readonly name: number;
  ready: boolean;
}

const program = new URL(
  import.meta.url.endsWith(".ts") ? "./producer.ts" : "./producer.js",
  import.meta.url,
);
const mostJobs = 64;

/** Where a service for this data set listens by default. */
export function defaultSocket(path: string, base = sharedFolder()): string {
  return join(base, `data-${contentHash(resolve(path)).slice(0, 12)}.sock`);
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
  private readonly perEpoch: number;
  private readonly length: number;
  private readonly transform: string;
  private readonly jobs = new Map<number, JobConnection>();
  /** Next batch of each job, for those that join where the others are. */
  private readonly places = new Map<number, BatchId>();
  private readonly producers = new Map<number, ProducerProcess>();
  private readonly timer: NodeJS.Timeout;
  private cacheBytes: number;
  private nextProducer = 0;
  /** Producers are ending, and start again when all have. */
  private restarting = false;
  /** Producers in a row that ended before they were ready. */
  private stillborn = 0;
  private closing = false;
  private readonly end: { resolve: () => void; reject: (error: Error) => void };
  private readonly counts = { prepared: 0, used: 0, detached: 0, restarts: 0, badSamples: 0 };
  private readonly named: { readonly name: string; readonly reason: string }[] = [];
  private pendingCache: { readonly bytes: number; readonly afterEpoch: number } | null = null;

  constructor(options: ServiceOptions, source: Source, socket: string) {
    const { batchSize, shuffle = true, dropLast = false, transform } = options;
    this.options = options;
    this.source = source;
    this.socket = socket;
    this.cacheBytes = options.cacheBytes ?? 0;
    this.transform = contentHash(transform);
    this.sampler = new Sampler({ length: source.length, shuffle, rank: 0, world: 1 });
    const whole = Math.floor(source.length / batchSize);
    this.length = dropLast ? whole * batchSize : source.length;
    this.perEpoch = Math.ceil(this.length / batchSize);
    if (this.perEpoch === 0)
      throw new MillraceError(
        "CONFIG_INVALID",
        `no batch of ${batchSize} in ${source.length} samples`,
      );
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
    this.hireAll();
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

  /** Process ids of the producers that run now. */
  producerPids(): number[] {
    return [...this.producers.values()].flatMap(({ child }) => child.pid ?? []);
  }

  status(): ServiceStatus {
    const { jobs, producers, counts, named } = this;
    return { kind: "status", jobs: jobs.size, producers: producers.size, ...counts, named };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    clearInterval(this.timer);
    for (const { socket } of this.jobs.values()) socket.destroy();
    const closed = new Promise((resolve) => this.server.close(resolve));
    await Promise.all([...this.producers.values()].map(({ child }) => ended(child)));
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
      if (job !== null && this.jobs.delete(job.name)) this.coordinator.leave(job.name, this.now());
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
    if (message.version !== protocolVersion)
      throw new Error(`the job speaks version ${message.version}, the service ${protocolVersion}`);
    const expected = message.expect ?? {};
    for (const [name, wanted, is] of [
      ["data set", expected.identity, identity],
      ["batch size", expected.batchSize, batchSize],
      ["transform", expected.transform, this.transform],
    ] as const)
      if (wanted !== undefined && wanted !== is)
        throw new Error(`the job's ${name} is ${wanted}, the service's ${is}`);
    let name = 0;
    while (this.jobs.has(name)) name++;
    if (name >= mostJobs) throw new Error(`${mostJobs} jobs have joined, which is the most`);
    const at = message.at ?? this.front();
    const id = this.idOf(at);
    const welcome: Welcome = {
      kind: "welcome",
      version: protocolVersion,
      job: name,
      ring: this.ring.path,
      slots: this.ring.layout.slots,
      batchSize,
      spec: this.ring.layout.spec,
      length: this.length,
      identity,
      transform: this.transform,
      at,
    };
    send(socket, welcome);
    const job = { socket, name, session: 0 };
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
    return { seed: best.seed, ...this.placeOf(best) };
  }

  private hear(job: JobConnection, message: ToService): void {
    const now = this.now();
    if (message.kind === "used") {
      if (message.session !== job.session) return;
      const { seed, sequence } = message;
      this.coordinator.used(job.name, { seed, sequence }, now);
      this.places.set(job.name, { seed, sequence: sequence + 1 });
      this.counts.used++;
      this.crossed(Math.floor((sequence + 1) / this.perEpoch));
    } else if (message.kind === "move") {
      // What was decided for the old place is said before the new one counts.
      this.act();
      job.session = message.session;
      this.coordinator.leave(job.name, now);
      const id = this.idOf(message.at);
      this.places.set(job.name, id);
      this.coordinator.join(job.name, id, now);
    } else if (message.kind === "cache") {
      if (!(message.bytes >= 0)) throw new Error(`a cache of ${message.bytes} bytes`);
      const place = this.places.get(job.name) as BatchId;
      const afterEpoch = Math.floor(place.sequence / this.perEpoch);
      this.pendingCache = { bytes: Math.floor(message.bytes), afterEpoch };
    } else throw new Error(`a message of kind ${JSON.stringify(message.kind)}`);
  }

  private idOf({ seed, epoch, position }: Place): BatchId {
    const { batchSize } = this.options;
    const end = position === this.length;
    if (
      ![seed, epoch, position].every((n) => Number.isSafeInteger(n) && n >= 0) ||
      position > this.length ||
      (!end && position % batchSize !== 0)
    )
      throw new Error(
        `epoch ${epoch}, position ${position} with seed ${seed} is no border of batches of ${batchSize}`,
      );
    return { seed, sequence: epoch * this.perEpoch + (end ? this.perEpoch : position / batchSize) };
  }

  private placeOf({ sequence }: BatchId): { readonly epoch: number; readonly position: number } {
    const epoch = Math.floor(sequence / this.perEpoch);
    return { epoch, position: (sequence - epoch * this.perEpoch) * this.options.batchSize };
  }

  // Producers.

  private hire(): void {
    const name = this.nextProducer++;
    const child = fork(fileURLToPath(program), [], {
      execArgv: loaderFlags(),
      serialization: "advanced",
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const producer: ProducerProcess = { child, name, ready: false };
    this.producers.set(name, producer);
    child.on("message", (message: FromProducer) => this.heard(producer, message));
    child.on("error", () => {});
    child.once("exit", () => this.lost(producer));
    const { source, transform, badSamples = "replace", cacheFolder = null } = this.options;
    const setup: ProducerSetup = {
      kind: "setup",
      source,
      identity: this.source.identity,
      transform,
      badSamples,
      cacheBytes: this.cacheBytes,
      cacheFolder,
      inFlight: this.options.inFlight ?? 8,
      arenaBytes: this.options.arenaBytes ?? 64 * 2 ** 20,
      ring: this.ring.path,
      layout: this.ring.layout,
    };
    child.send(setup satisfies ToProducer);
  }

  private heard(producer: ProducerProcess, message: FromProducer): void {
    if (message.kind === "ready") {
      producer.ready = true;
      this.coordinator.addProducer(producer.name, this.now());
    } else if (message.kind === "broken") {
      const code = message.code in errorCodes ? (message.code as ErrorCode) : "DATA_SERVICE_FAILED";
      this.end.reject(new MillraceError(code, message.message));
      void this[Symbol.asyncDispose]();
      return;
    } else {
      const { slot, generation, samples, error, bad } = message;
      this.counts.prepared++;
      this.counts.badSamples += bad.length;
      for (const sample of bad) if (this.named.length < 100) this.named.push(sample);
      const outcome = error === null ? { samples } : { error };
      this.coordinator.produced(producer.name, slot, generation, outcome, this.now());
    }
    this.act();
  }

  private lost(producer: ProducerProcess): void {
    this.producers.delete(producer.name);
    this.coordinator.producerGone(producer.name, this.now());
    if (this.closing) return;
    if (this.restarting) {
      if (this.producers.size === 0) {
        this.restarting = false;
        this.hireAll();
      }
      return;
    }
    this.counts.restarts++;
    this.stillborn = producer.ready ? 0 : this.stillborn + 1;
    if (this.stillborn >= 3) {
      const message = "producers end before they are ready";
      this.end.reject(new MillraceError("DATA_SERVICE_FAILED", message));
      void this[Symbol.asyncDispose]();
      return;
    }
    this.hire();
    this.act();
  }

  private hireAll(): void {
    for (let i = this.options.producers ?? availableParallelism(); i > 0; i--) this.hire();
  }

  /** A new bound for the cache needs the cache alone: producers end between epochs and start again with it. */
  private crossed(epoch: number): void {
    if (this.pendingCache === null || epoch <= this.pendingCache.afterEpoch) return;
    this.cacheBytes = this.pendingCache.bytes;
    this.pendingCache = null;
    this.coordinator.setPaused(true, this.now());
  }

  private restartWhenQuiet(): void {
    if (!this.coordinator.isPaused || !this.coordinator.quiet) return;
    this.coordinator.setPaused(false, this.now());
    this.restarting = true;
    for (const { name, child } of this.producers.values()) {
      this.coordinator.producerGone(name, this.now());
      child.send({ kind: "end" } satisfies ToProducer);
    }
  }

  // What the coordinator decided.

  private act(): void {
    if (this.closing) return;
    this.restartWhenQuiet();
    const actions = this.coordinator.take();
    if (actions.length > 0) this.writeHeaders();
    for (const action of actions) {
      if (action.kind === "lease") this.lease(action.producer, action.lease);
      else if (action.kind === "kill") this.producers.get(action.producer)?.child.kill("SIGKILL");
      else if (action.kind === "detached") this.counts.detached++;
      else {
        const job = this.jobs.get(action.job);
        if (job === undefined) continue;
        const { slot, generation, id, outcome } = action;
        const place = this.placeOf(id);
        send(job.socket, {
          kind: "batch",
          session: job.session,
          slot,
          generation,
          ...id,
          ...place,
          planned: Math.min(this.options.batchSize, this.length - place.position),
          ...("error" in outcome ? { samples: 0, error: outcome.error } : outcome),
        });
      }
    }
  }

  private lease(producer: number, lease: Lease): void {
    const { epoch, position } = this.placeOf(lease);
    const end = Math.min(position + this.options.batchSize, this.length);
    const items = Int32Array.from(this.sampler.order(lease.seed, epoch).subarray(position, end));
    const message: ToProducer = { kind: "lease", lease, epoch, items };
    this.producers.get(producer)?.child.send(message);
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
        pid: this.producers.get(producer)?.child.pid ?? 0,
      });
    }
  }
}

/** Opens the data set and serves it. Throws MillraceError when something is in the way; see DataService. */
export async function startService(options: ServiceOptions): Promise<DataService> {
  const source = await openSource(options.source);
  const socket = options.socket ?? defaultSocket(options.source.path, options.sharedFolder);
  mkdirSync(dirname(socket), { recursive: true });
  if (await answers(socket))
    throw new MillraceError("DATA_SERVICE_FAILED", `a service listens on ${socket} already`, {
      hint: "join it, stop it, or choose another socket",
    });
  rmSync(socket, { force: true });
  const service = new DataService(options, source, socket);
  try {
    await service.listen();
  } catch (cause) {
    await service[Symbol.asyncDispose]();
    throw new MillraceError("DATA_SERVICE_FAILED", `${socket} cannot be listened on`, { cause });
  }
  return service;
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    const done = (is: boolean) => () => {
      probe.destroy();
      resolve(is);
    };
    probe.once("connect", done(true));
    probe.once("error", done(false));
  });
}

function send(socket: Socket, message: FromService): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

function refuse(socket: Socket, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  socket.end(`${JSON.stringify({ kind: "refused", message } satisfies FromService)}\n`);
}

/** Ends a producer at once: its work is nobody's any more. */
function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) resolve();
    else {
      child.once("exit", () => resolve());
      child.kill("SIGKILL");
    }
  });
}

/** Sources need the TypeScript loader in producers, built modules need nothing. */
function loaderFlags(): string[] {
  if (!import.meta.url.endsWith(".ts")) return [];
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=millrace:source", "--import", tsx];
}
