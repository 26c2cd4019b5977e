/** The orders that lead from what is to what shall be and have room now: stops and shrinks first, then what grows and starts. */
import { changeKind } from "../changes.ts";
import type { ServerState } from "../contracts.ts";
import type { GrantedSlice, Observed, Outcome, Runner } from "../runners/runner.ts";
import type { Books } from "./books.ts";
import { verdictOf } from "./endings.ts";
import type { Leases } from "./parts.ts";
import { type Desired, mayStop, type Planner } from "./planning.ts";
import { Room } from "./room.ts";
import type { JobRecord } from "./run-state.ts";
import { together } from "./together.ts";

/** What the orders are given on: a look at the engine, and a plan. */
export interface View {
  readonly engine: ReadonlyMap<string, Observed>;
  readonly servers: readonly ServerState[];
  readonly desired: Desired;
}

type Wanted = { readonly slices: readonly GrantedSlice[]; readonly speed: number };

export class Orders {
  private readonly books: Books;
  private readonly runner: Runner;
  private readonly leases: Leases;
  private readonly planner: Planner;

  constructor(books: Books, runner: Runner, leases: Leases, planner: Planner) {
    this.books = books;
    this.runner = runner;
    this.leases = leases;
    this.planner = planner;
  }

  async give(view: View, signal: AbortSignal): Promise<void> {
    const { state } = this.books;
    const room = new Room(view.servers);
    const open = state.open().filter((job) => !job.cancelled);
    for (const job of open) room.take(job.slices);
    const orders: Promise<void>[] = [];
    const growing: [JobRecord, Wanted][] = [];
    for (const job of open) {
      const seen = view.engine.get(job.entry.id);
      if (job.slices.length === 0 || seen === undefined) continue;
      this.leases.grant(job.entry.id, leaseGrant(job.slices));
      // The order is in the journal and the engine does not have it: it is given (again).
      if (seen.attempt < job.attempt) orders.push(this.start(job, signal));
      else if (job.askedAt !== null) orders.push(this.pursue(job, seen, signal));
      else if (seen.phase === "running") this.change(job, seen, view, orders, growing, signal);
    }
    await together(orders);
    // What became free by the shrinks of this step is counted in the next one's room.
    const later: Promise<void>[] = [];
    for (const [job, wanted] of growing) {
      room.release(job.slices);
      if (room.fits(wanted.slices)) {
        room.take(wanted.slices);
        later.push(this.resize(job, wanted, signal));
      } else room.take(job.slices);
    }
    if (!state.drainsAll)
      for (const job of open)
        if (this.mayStart(job, view, room)) later.push(this.start(job, signal));
    await together(later);
  }

  /** What the plan changes for a job that runs. */
  private change(
    job: JobRecord,
    seen: Observed,
    { desired, servers }: View,
    orders: Promise<void>[],
    growing: [JobRecord, Wanted][],
    signal: AbortSignal,
  ): void {
    const down = (name: string) =>
      servers.some((server) => server.name === name && server.condition === "down");
    // Nobody there hears a request; the engine says when the start is lost, or the server comes back with it.
    if (job.slices.some(({ server }) => down(server))) return;
    const wanted = desired.get(job.entry.id);
    const kind = this.kindOf(job, wanted?.slices ?? [], servers);
    if (kind === "resize" && wanted !== undefined) {
      const shrinks =
        cpusOf(wanted.slices) <= cpusOf(job.slices) &&
        memoryOf(wanted.slices) <= memoryOf(job.slices);
      if (shrinks) orders.push(this.resize(job, wanted, signal));
      else growing.push([job, wanted]);
    } else if (kind !== "keep" && mayStop(job)) {
      const reason = kind === "stop" ? "others go first" : "it moves or gets another grant";
      this.books.record({ at: this.books.now(), kind: "asked", id: job.entry.id, reason });
      orders.push(this.pursue(job, seen, signal));
    }
  }

  /** Writes the start down where the plan wants one and there is room for it. */
  private mayStart(job: JobRecord, { engine, desired }: View, room: Room): boolean {
    const { id } = job.entry;
    const phase = engine.get(id)?.phase;
    const wanted = desired.get(id);
    if (wanted === undefined || job.slices.length > 0) return false;
    if (phase !== "held" && phase !== "ended") return false;
    const at = this.books.now();
    if (job.notBefore > at || !room.fits(wanted.slices)) return false;
    room.take(wanted.slices);
    const { slices, speed } = wanted;
    this.books.record({ at, kind: "ordered", id, attempt: job.attempt + 1, slices, speed });
    this.leases.grant(id, leaseGrant(slices));
    return true;
  }

  private async start(job: JobRecord, signal: AbortSignal): Promise<void> {
    const { books } = this;
    const { id } = job.entry;
    const { attempt, slices } = job;
    try {
      await this.runner.start({ id, attempt, slices }, signal);
      books.accepted(id);
    } catch (error) {
      books.refused(job, error);
      if (!books.tooOften(id)) return;
      const outcome: Outcome = { kind: "not-started", reason: (error as Error).message };
      const as = "failure";
      const given = verdictOf(job, as, outcome);
      books.record({ at: books.now(), kind: "ended", id, attempt, outcome, as, ...given });
      books.accepted(id);
      books.dirty = true;
    }
  }

  /** Leads a job that was asked to stop to its end: its lease first, the engine when it has saved or its grace is over. */
  private async pursue(job: JobRecord, seen: Observed, signal: AbortSignal): Promise<void> {
    const { id, grace } = job.entry;
    const at = this.books.now();
    const asked = job.askedAt ?? at;
    if (seen.phase === "stopping" || seen.phase === "ended") return;
    const heard = this.leases.askToStop(id, job.askedBecause);
    if (!heard || this.books.savedAt(id) >= asked || at >= asked + grace)
      await this.books.tried(id, () => this.runner.stop(id, job.attempt, signal));
  }

  private async resize(job: JobRecord, { slices, speed }: Wanted, signal: AbortSignal) {
    const { books } = this;
    const { id } = job.entry;
    const order = { id, attempt: job.attempt, slices };
    const resized = await books.tried(id, () => this.runner.resize(order, signal));
    if (resized === null) return;
    if (resized === "refused") {
      books.record({ at: books.now(), kind: "fixed", id });
      books.dirty = true;
      return;
    }
    books.record({ at: books.now(), kind: "resized", id, slices, speed });
    this.leases.grant(id, leaseGrant(slices));
  }

  private kindOf(
    job: JobRecord,
    wanted: readonly GrantedSlice[],
    servers: readonly ServerState[],
  ): ReturnType<typeof changeKind> {
    const index = new Map(servers.map((server, i) => [server.name, i]));
    const slices = (from: readonly GrantedSlice[]) =>
      from.map(({ server, ...rest }) => ({ server: index.get(server) ?? -1, ...rest }));
    return changeKind(
      { held: slices(job.slices), resize: this.planner.resizeOf(job) },
      slices(wanted),
    );
  }
}

/** Cores of a grant. */
export const cpusOf = (slices: readonly GrantedSlice[]): number =>
  slices.reduce((n, s) => n + s.cpus, 0);
/** Host memory of a grant, bytes. */
export const memoryOf = (slices: readonly GrantedSlice[]): number =>
  slices.reduce((n, s) => n + s.hostBytes, 0);

function leaseGrant(slices: readonly GrantedSlice[]) {
  return {
    cpus: cpusOf(slices),
    hostBytes: memoryOf(slices),
    cacheBytes: slices.reduce((n, s) => n + s.cacheBytes, 0),
    gpus: slices.flatMap((slice) => slice.gpus),
  };
}
