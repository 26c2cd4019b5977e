/** A job's side of its lease: what MILLRACE_LEASE names. A lease that breaks off is taken up again while the job goes on. */
import { connect, type Socket } from "node:net";
import { MillraceError } from "../../errors.ts";
import { type Grant, type JobLease, leaseVariables, type StepReport } from "../../job/lease.ts";
import { longestLeaseLine, readLeaseReply, writeLeaseLine } from "../../job/lease-messages.ts";
import { readLines } from "./line-socket.ts";

/** Where and how; the defaults are those of jobs. */
export interface LeaseClientOptions {
  /** Environment that carries the lease; default this process's. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** At most one report in so many seconds; default 1. */
  readonly reportSeconds?: number;
  /** How long the first grant is waited for; default 10 s. */
  readonly patienceSeconds?: number;
  /** How long after a break the scheduler is looked for again, each time; default 1 s. */
  readonly retrySeconds?: number;
}

/**
 * Takes the lease that the environment names; null when it names none: the job stands alone. Rejects with MillraceError
 * LEASE_REFUSED when the scheduler refuses it, or cannot be reached within the patience. Does not keep the process alive.
 */
export async function openLease(options: LeaseClientOptions = {}): Promise<JobLease | null> {
  const environment = options.environment ?? process.env;
  const path = environment[leaseVariables.socket];
  const token = environment[leaseVariables.token];
  if (path === undefined || path === "") return null;
  if (token === undefined || token === "")
    throw new MillraceError("LEASE_REFUSED", `${leaseVariables.token} is not set`, {
      hint: `start the job without ${leaseVariables.socket} to let it stand alone`,
    });
  const lease = new SocketLease(path, token, options);
  await lease.ready();
  return lease;
}

const nothing: StepReport = { step: 0, computeSeconds: 0, waitSeconds: 0, samples: 0 };

class SocketLease implements JobLease {
  private readonly path: string;
  private readonly token: string;
  private readonly reportMs: number;
  private readonly retryMs: number;
  private readonly patienceMs: number;
  private readonly stopping = new AbortController();
  private socket: Socket | null = null;
  private granted: Grant | null = null;
  private sum: StepReport = nothing;
  private unsent = false;
  private reportTimer: NodeJS.Timeout | null = null;
  private retryTimer: NodeJS.Timeout | null = null;
  private nextId = 1;
  private readonly waiting = new Map<
    number,
    {
      readonly step: number;
      readonly dir: string;
      readonly done: () => void;
      readonly fail: (error: Error) => void;
    }
  >();
  private refusal: MillraceError | null = null;
  private closed = false;
  private wakeReady: (() => void) | null = null;

  constructor(path: string, token: string, options: LeaseClientOptions) {
    this.path = path;
    this.token = token;
    this.reportMs = (options.reportSeconds ?? 1) * 1000;
    this.retryMs = (options.retrySeconds ?? 1) * 1000;
    this.patienceMs = (options.patienceSeconds ?? 10) * 1000;
    this.connect();
  }

  /** Resolves with the first grant. */
  async ready(): Promise<void> {
    const limit = setTimeout(() => {
      this.refusal ??= new MillraceError("LEASE_REFUSED", `no scheduler answers at ${this.path}`, {
        hint: `start the job without ${leaseVariables.socket} to let it stand alone`,
      });
      this.wakeReady?.();
    }, this.patienceMs);
    while (this.granted === null && this.refusal === null)
      await new Promise<void>((resolve) => {
        this.wakeReady = resolve;
      });
    clearTimeout(limit);
    if (this.granted === null) {
      await this[Symbol.asyncDispose]();
      throw this.refusal as MillraceError;
    }
  }

  get stop(): AbortSignal {
    return this.stopping.signal;
  }

  grant(): Grant {
    return this.granted as Grant;
  }

  report(step: number, computeSeconds: number, waitSeconds: number, samples: number): void {
    this.sum = {
      step,
      computeSeconds: this.sum.computeSeconds + computeSeconds,
      waitSeconds: this.sum.waitSeconds + waitSeconds,
      samples: this.sum.samples + samples,
    };
    this.unsent = true;
    this.reportTimer ??= setTimeout(() => this.flush(), this.reportMs).unref();
  }

  checkpointed(step: number, dir: string): Promise<void> {
    if (this.refusal !== null) return Promise.reject(this.refusal);
    this.flush();
    const id = this.nextId++;
    return new Promise((done, fail) => {
      this.waiting.set(id, { step, dir, done, fail });
      // What is waited for keeps the process alive, also over a break.
      this.socket?.ref();
      this.retryTimer?.ref();
      this.say({ kind: "checkpointed", id, step, dir });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return;
    this.flush();
    this.closed = true;
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    if (this.reportTimer !== null) clearTimeout(this.reportTimer);
    const { socket } = this;
    if (socket !== null && !socket.destroyed && !socket.connecting) {
      socket.ref();
      await new Promise<void>((resolve) => {
        // A scheduler that hangs must not keep the job from ending.
        const limit = setTimeout(() => socket.destroy(), 1000);
        socket.once("close", () => {
          clearTimeout(limit);
          resolve();
        });
        socket.end();
      });
    } else socket?.destroy();
    for (const { fail } of this.waiting.values())
      fail(new MillraceError("LEASE_REFUSED", "the lease was given up before the answer"));
    this.waiting.clear();
  }

  private connect(): void {
    const socket = connect(this.path);
    this.socket = socket;
    if (this.waiting.size === 0 && this.granted !== null) socket.unref();
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.lost());
    socket.on("connect", () => {
      this.say({ kind: "hello", token: this.token, pid: process.pid });
      for (const [id, { step, dir }] of this.waiting)
        this.say({ kind: "checkpointed", id, step, dir });
    });
    readLines(
      socket,
      longestLeaseLine,
      (line) => this.hear(line),
      () => socket.destroy(),
    );
  }

  /** The scheduler went away: the job goes on with what it has, and looks for the next one. */
  private lost(): void {
    this.socket = null;
    if (this.closed || this.refusal !== null) return;
    this.retryTimer = setTimeout(() => {
      this.retryTimer = null;
      this.connect();
    }, this.retryMs);
    if (this.waiting.size === 0 && this.granted !== null) this.retryTimer.unref();
  }

  private hear(line: string): void {
    const reply = readLeaseReply(line);
    if (reply === null) return;
    if (reply.kind === "grant") {
      const { cpus, hostBytes, cacheBytes, gpus } = reply;
      this.granted = { cpus, hostBytes, cacheBytes, gpus };
      if (this.waiting.size === 0) this.socket?.unref();
      this.wakeReady?.();
    } else if (reply.kind === "stop") this.stopping.abort(reply.reason);
    else if (reply.kind === "acknowledged") {
      this.waiting.get(reply.id)?.done();
      this.waiting.delete(reply.id);
      if (this.waiting.size === 0) this.socket?.unref();
    } else {
      this.refusal = new MillraceError("LEASE_REFUSED", `the scheduler said: ${reply.message}`);
      for (const { fail } of this.waiting.values()) fail(this.refusal);
      this.waiting.clear();
      this.wakeReady?.();
    }
  }

  private flush(): void {
    this.reportTimer = null;
    if (!this.unsent || !this.say({ kind: "report", ...this.sum })) return;
    this.sum = { ...nothing, step: this.sum.step };
    this.unsent = false;
  }

  private say(message: Parameters<typeof writeLeaseLine>[0]): boolean {
    const { socket } = this;
    if (socket === null || socket.connecting || !socket.writable) return false;
    socket.write(writeLeaseLine(message));
    return true;
  }
}
