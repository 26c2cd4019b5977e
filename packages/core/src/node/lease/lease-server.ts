/**
 * The scheduler's side of leases: one unix socket for all jobs. A job says its token and gets its grant; it reports steps,
 * says which checkpoints are durable, and is asked to stop. Nothing that a job sends is believed about another job, and
 * what it says of itself is bounded (job/lease-messages.ts) before it is handed on. Knows nothing of scheduling.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { MillraceError } from "../../errors.ts";
import type { Grant, LeaseReply, StepReport } from "../../job/lease.ts";
import { longestLeaseLine, readLeaseRequest, writeLeaseLine } from "../../job/lease-messages.ts";
import { readLines } from "./line-socket.ts";

/** A process at the other end, as the kernel names it. */
export interface LeasePeer {
  readonly pid: number;
  readonly uid: number;
}

/** Who may come, and what happens then. */
export interface LeaseServerOptions {
  /** Path of the socket; at most 107 bytes, as the kernel has it. What is left there of an earlier server is removed. */
  readonly socket: string;
  /** Permissions of the socket; default 0o600. With 0o666 jobs of several users come, told apart by token and peer. */
  readonly mode?: number;
  /** The job whose token this is, and the user it must come as (null: any); null when nobody's. Compare in constant time. */
  admit(token: string): { readonly job: string; readonly uid: number | null } | null;
  /** Who connected, by the kernel (system's `peerOf`); without it users are not checked. */
  peer?(socket: Socket): LeasePeer;
  /** The job took its lease. `pid` is the kernel's word where there is one, else the job's. */
  connected?(job: string, pid: number): void;
  report(job: string, report: StepReport): void;
  /** Called once per checkpoint; the job is told when this resolves, so resolve when it is written down durably. */
  checkpointed(job: string, step: number, dir: string): Promise<void>;
}

interface Lease {
  readonly job: string;
  readonly socket: Socket;
}

/** Serves leases until it is disposed. */
export class LeaseServer implements AsyncDisposable {
  readonly path: string;
  private readonly options: LeaseServerOptions;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly leases = new Map<string, Lease>();
  private readonly grants = new Map<string, Grant>();
  private readonly stops = new Map<string, string>();

  private constructor(options: LeaseServerOptions) {
    this.options = options;
    this.path = options.socket;
    this.server = createServer((socket) => this.welcome(socket));
  }

  /** Listens. Throws MillraceError ENVIRONMENT_MISSING when the path cannot be a socket. */
  static async listen(options: LeaseServerOptions): Promise<LeaseServer> {
    const { socket, mode = 0o600 } = options;
    const hint = "choose a shorter or another folder for the scheduler's state";
    if (Buffer.byteLength(socket) > 107)
      throw new MillraceError("ENVIRONMENT_MISSING", `${socket} is too long for a socket`, {
        hint,
      });
    const made = new LeaseServer(options);
    rmSync(socket, { force: true });
    // Nobody may connect between the moment the socket appears and the moment it has its permissions.
    const before = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        made.server.once("error", reject).listen(socket, resolve);
        process.umask(before);
      });
    } catch (cause) {
      throw new MillraceError("ENVIRONMENT_MISSING", `${socket} cannot be listened on`, {
        cause,
        hint,
      });
    } finally {
      process.umask(before);
    }
    chmodSync(socket, mode);
    return made;
  }

  /** What the job may use from now on; told at once when it is connected, else when it connects. */
  grant(job: string, grant: Grant): void {
    this.grants.set(job, grant);
    this.say(job, { kind: "grant", ...grant });
  }

  /** Asks the job to save, say `checkpointed` and end; once, however often it is called. False when it has not taken its lease: nobody will hear it. */
  askToStop(job: string, reason: string): boolean {
    if (this.stops.get(job) === reason) return this.isConnected(job);
    this.stops.set(job, reason);
    return this.say(job, { kind: "stop", reason });
  }

  /** Whether the job has taken its lease and is still there. */
  isConnected(job: string): boolean {
    return this.leases.has(job);
  }

  /** Ends the job's lease and forgets grant and stop: its next start begins anew. */
  release(job: string): void {
    this.grants.delete(job);
    this.stops.delete(job);
    this.leases.get(job)?.socket.destroy();
    this.leases.delete(job);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.sockets) socket.destroy();
    await closed;
    rmSync(this.path, { force: true });
  }

  private say(job: string, message: LeaseReply): boolean {
    const lease = this.leases.get(job);
    if (lease?.socket.writable !== true) return false;
    lease.socket.write(writeLeaseLine(message));
    return true;
  }

  private welcome(socket: Socket): void {
    let lease: Lease | null = null;
    const refuse = (message: string): void => {
      socket.end(writeLeaseLine({ kind: "refused", message }));
    };
    this.sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.sockets.delete(socket);
      if (lease !== null && this.leases.get(lease.job) === lease) this.leases.delete(lease.job);
    });
    readLines(
      socket,
      longestLeaseLine,
      (line) => {
        if (!socket.writable) return;
        const request = readLeaseRequest(line);
        if (request === null) refuse("this is no message of a lease");
        else if (request.kind === "hello") {
          if (lease === null) lease = this.take(socket, request.token, request.pid, refuse);
          else refuse("the lease has been taken already");
        } else if (lease === null) refuse("say hello with the lease's token first");
        else if (request.kind === "report") {
          const { step, computeSeconds, waitSeconds, samples } = request;
          this.options.report(lease.job, { step, computeSeconds, waitSeconds, samples });
        } else {
          const { id, step, dir } = request;
          // A checkpoint that could not be written down is not acknowledged: the job waits, and nothing is preempted on it.
          this.options.checkpointed(lease.job, step, dir).then(
            () => {
              if (socket.writable) socket.write(writeLeaseLine({ kind: "acknowledged", id }));
            },
            () => refuse("the checkpoint could not be written down"),
          );
        }
      },
      () => refuse(`a line is longer than ${longestLeaseLine} characters`),
    );
  }

  /** The lease of a token, or null after a refusal. The newest connection of a job is its lease: jobs start again. */
  private take(
    socket: Socket,
    token: string,
    pid: number,
    refuse: (message: string) => void,
  ): Lease | null {
    const admitted = this.options.admit(token);
    const peer = this.options.peer?.(socket);
    const stranger = peer !== undefined && admitted !== null && admitted.uid !== null;
    if (admitted === null || (stranger && peer.uid !== admitted.uid && peer.uid !== 0)) {
      refuse("the token is nobody's, or another user's");
      return null;
    }
    const { job } = admitted;
    const lease: Lease = { job, socket };
    this.leases.get(job)?.socket.end();
    this.leases.set(job, lease);
    const grant = this.grants.get(job);
    const stop = this.stops.get(job);
    if (grant !== undefined) this.say(job, { kind: "grant", ...grant });
    if (stop !== undefined) this.say(job, { kind: "stop", reason: stop });
    // A process in a container has another number inside; the kernel's is the one that can be looked at from here.
    this.options.connected?.(job, peer?.pid ?? pid);
    return lease;
  }
}
