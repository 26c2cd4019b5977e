/** Who sits where while a water-filling plan is made, and what each server is worth with the jobs on it. */
import type { ClusterState, JobState } from "../../contracts.ts";
import type { Part } from "../../placement/ledger.ts";
import type { Choice } from "../../profile/options.ts";
import { fill, type Room, type Seat } from "./fill.ts";

/** A job over several servers: at its floor, out of the filling. */
export interface SpanningSeat {
  readonly seat: Seat;
  readonly parts: readonly Part[];
}

/** The servers with their seats. */
export class Board {
  readonly state: ClusterState;
  readonly horizon: number;
  readonly seats: Seat[][];
  readonly spanning: SpanningSeat[] = [];
  readonly freeGpus: Int32Array;
  /** CPUs less the best demands of all seats: how much a server has for one more. */
  readonly demandRoom: Float64Array;
  private readonly rooms: { cpus: number; hostBytes: number }[];
  private readonly values: Float64Array;
  private readonly dirty: Uint8Array;
  private readonly scratch: Choice[] = [];

  constructor(state: ClusterState, horizon: number) {
    const n = state.servers.length;
    this.state = state;
    this.horizon = horizon;
    this.seats = Array.from({ length: n }, () => []);
    this.freeGpus = new Int32Array(n);
    this.demandRoom = new Float64Array(n);
    this.values = new Float64Array(n);
    this.dirty = new Uint8Array(n);
    this.rooms = state.servers.map((server, s) => {
      if (server.condition === "up") this.freeGpus[s] = server.gpus;
      this.demandRoom[s] = server.cpus;
      return { cpus: server.cpus, hostBytes: server.hostBytes };
    });
  }

  get servers(): number {
    return this.seats.length;
  }

  room(server: number): Room {
    return this.rooms[server] as Room;
  }

  /** Seats a job on one server; `clean` when it sits there already with what it has. */
  sit(server: number, seat: Seat, clean = false): void {
    this.seats[server]?.push(seat);
    this.freeGpus[server]! -= seat.job.gpus;
    this.demandRoom[server]! -= seat.job.options.best.cpus;
    if (!clean) this.dirty[server] = 1;
  }

  /** Takes a job off its server. */
  leave(server: number, seat: Seat): void {
    const seats = this.seats[server] as Seat[];
    seats.splice(seats.indexOf(seat), 1);
    this.freeGpus[server]! += seat.job.gpus;
    this.demandRoom[server]! += seat.job.options.best.cpus;
    this.dirty[server] = 1;
  }

  /** Seats a job over several servers; what it gets is taken out of their room. */
  sitAcross(seat: Seat, parts: readonly Part[], clean = false): void {
    this.spanning.push({ seat, parts });
    for (const { server, gpus } of parts) {
      this.freeGpus[server]! -= gpus;
      this.chargeRoom(server, seat.choice, gpus / seat.job.gpus, 1);
      this.demandRoom[server]! -= (seat.choice.cpus * gpus) / seat.job.gpus;
      if (!clean) this.dirty[server] = 1;
    }
  }

  /** Takes a job off all its servers. */
  leaveAcross(spanning: SpanningSeat): void {
    this.spanning.splice(this.spanning.indexOf(spanning), 1);
    const { seat, parts } = spanning;
    for (const { server, gpus } of parts) {
      this.freeGpus[server]! += gpus;
      this.chargeRoom(server, seat.choice, gpus / seat.job.gpus, -1);
      this.demandRoom[server]! += (seat.choice.cpus * gpus) / seat.job.gpus;
      this.dirty[server] = 1;
    }
  }

  /** Takes or gives back a part of a choice on a server. */
  chargeRoom(server: number, choice: Choice, part: number, sign: 1 | -1): void {
    const room = this.rooms[server] as { cpus: number; hostBytes: number };
    room.cpus -= sign * choice.cpus * part;
    room.hostBytes -= sign * choice.hostBytes * part;
  }

  /** GPUs of the job whose part of its floor fits beside the lower choices of the server's seats. */
  floorsThatFit(server: number, job: JobState): number {
    const room = this.room(server);
    let { cpus, hostBytes } = room;
    for (const { lower } of this.seats[server] as Seat[]) {
      cpus -= lower.cpus;
      hostBytes -= lower.hostBytes;
    }
    const { floor } = job.options;
    return Math.floor(
      job.gpus * Math.min(cpus / floor.cpus, hostBytes / Math.max(1, floor.hostBytes)) + 1e-9,
    );
  }

  /** Marks a server whose jobs or room changed. */
  touch(server: number): void {
    this.dirty[server] = 1;
  }

  /** The choices of a server's seats, filled anew when something changed; returns its value. */
  settle(server: number): number {
    if (this.dirty[server] === 0) return this.values[server] as number;
    const seats = this.seats[server] as Seat[];
    const value = fill(seats, this.room(server), this.horizon, this.scratch);
    for (let i = 0; i < seats.length; i++)
      (seats[i] as Seat).choice = this.scratch[i] ?? (seats[i] as Seat).lower;
    this.values[server] = value;
    this.dirty[server] = 0;
    return value;
  }

  /** Value of a clean server from the choices that its seats have. */
  assess(server: number): void {
    let value = 0;
    for (const seat of this.seats[server] as Seat[]) value += seat.choice.speed * this.horizon;
    this.values[server] = value;
  }

  /** What the server would be worth with these seats instead. */
  worth(server: number, seats: readonly Seat[]): number {
    return fill(seats, this.room(server), this.horizon, this.scratch);
  }
}

/** The seat of a job that is not where it would sit: nothing held, no change to weigh. */
export function newSeat(job: JobState): Seat {
  const { floor } = job.options;
  return {
    job,
    lower: floor,
    fixed: false,
    anchored: false,
    held: null,
    changeSeconds: 0,
    choice: floor,
  };
}
