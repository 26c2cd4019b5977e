/**
 * Who prepares which batch, and who still has to use it (CoorDL section 4.2), as a state machine without clock, socket or
 * process: inputs carry the time, outputs are actions. A batch is one preparation used once by every job that gets to it
 * while it is staged; a job that is elsewhere in the sequence (it came late, resumed, or fell behind) has its batches
 * prepared for it alone until it is back among the others.
 *
 * A job is promised batches only in one gapless run from its next one on. So some job can always go on with what is
 * staged, and slots can never all be held by batches that nobody can reach.
 */
import { InvariantError } from "@millrace/core";

/** A place in the endless sequence of batches of one seed. */
export interface BatchId {
  readonly seed: number;
  readonly sequence: number;
}

export interface CoordinatorOptions {
  readonly slots: number;
  /** Leases that one producer holds at once: the second one's items are fetched while the first is prepared. */
  readonly leasesPerProducer: number;
  /** Seconds after which a job that uses nothing while another waits loses what was promised to it; null: never. */
  readonly detachSeconds: number | null;
  /** A batch on which this many producers died is given up. */
  readonly attempts: number;
}

export type Action =
  | { readonly kind: "lease"; readonly producer: number; readonly lease: Lease }
  | {
      readonly kind: "deliver";
      readonly job: number;
      readonly slot: number;
      readonly generation: number;
      readonly id: BatchId;
      readonly outcome: Outcome;
    }
  | { readonly kind: "detached"; readonly job: number }
  | { readonly kind: "kill"; readonly producer: number };

export interface Lease extends BatchId {
  readonly slot: number;
  readonly generation: number;
}

/** What a producer made: samples, and when their bytes were there; or why not. */
export type Outcome =
  | { readonly samples: number; readonly fetchedAt: number }
  | { readonly error: string };

interface Slot {
  state: "free" | "leased" | "ready";
  generation: number;
  id: BatchId;
  /** Jobs that have not used it yet. */
  readonly jobs: Set<number>;
  producer: number;
  attempts: number;
  outcome: Outcome;
}

interface Job {
  seed: number;
  /** Next batch to use. */
  next: number;
  /** Batches from next up to here are staged or leased with this job's bit. */
  promised: number;
  /** Batches up to here were delivered. */
  delivered: number;
  usedAt: number;
  /** Since when nothing is promised, or null. */
  starvedAt: number | null;
}

interface Producer {
  readonly leases: number[];
  /** When the lease in front came to the front. */
  since: number;
  killed: boolean;
}

/** Delivered before the one in front is used, so that a job never waits for a message. */
const deliveredAhead = 2;
const durationsKept = 64;

export class Coordinator {
  private readonly options: CoordinatorOptions;
  private readonly slots: Slot[];
  private readonly byId = new Map<string, number>();
  private readonly jobs = new Map<number, Job>();
  private readonly producers = new Map<number, Producer>();
  private readonly durations: number[] = [];
  private readonly actions: Action[] = [];
  private paused = false;

  constructor(options: CoordinatorOptions) {
    if (options.slots < 2) throw new InvariantError(`a ring of ${options.slots} slots`);
    this.options = options;
    this.slots = Array.from({ length: options.slots }, () => ({
      state: "free",
      generation: 0,
      id: { seed: 0, sequence: -1 },
      jobs: new Set<number>(),
      producer: -1,
      attempts: 0,
      outcome: { samples: 0, fetchedAt: 0 },
    }));
  }

  join(job: number, at: BatchId, now: number): void {
    if (this.jobs.has(job)) throw new InvariantError(`job ${job} joined twice`);
    const { seed, sequence } = at;
    this.jobs.set(job, {
      seed,
      next: sequence,
      promised: sequence,
      delivered: sequence,
      usedAt: now,
      starvedAt: now,
    });
    this.schedule(now);
  }

  leave(job: number, now: number): void {
    const left = this.jobs.get(job);
    if (left === undefined) return;
    this.jobs.delete(job);
    this.slots.forEach((slot, i) => {
      if (slot.jobs.delete(job)) this.freeIfUsed(i);
    });
    this.schedule(now);
  }

  /** The job has used its next batch. A report of another batch is ignored: it is of a time before a move. */
  used(job: number, id: BatchId, now: number): void {
    const state = this.jobs.get(job);
    if (state === undefined || id.seed !== state.seed || id.sequence !== state.next) return;
    const i = this.byId.get(key(id));
    if (i === undefined || state.delivered <= id.sequence) return;
    (this.slots[i] as Slot).jobs.delete(job);
    state.next++;
    state.usedAt = now;
    this.freeIfUsed(i);
    this.schedule(now);
  }

  addProducer(producer: number, now: number): void {
    this.producers.set(producer, { leases: [], since: now, killed: false });
    this.schedule(now);
  }

  /** The process has ended: nobody writes to its slots any more, so they go to others. */
  producerGone(producer: number, now: number): void {
    const gone = this.producers.get(producer);
    if (gone === undefined) return;
    this.producers.delete(producer);
    gone.leases.forEach((i, place) => {
      const slot = this.slots[i] as Slot;
      slot.producer = -1;
      // Only the lease in front was being worked on.
      if (place === 0) slot.attempts++;
      if (slot.attempts >= this.options.attempts)
        this.ready(slot, {
          error: `${slot.attempts} producers ended while they prepared the batch`,
        });
      this.freeIfUsed(i);
    });
    this.schedule(now);
  }

  produced(
    producer: number,
    slotNumber: number,
    generation: number,
    outcome: Outcome,
    now: number,
  ): void {
    const slot = this.slots[slotNumber];
    const from = this.producers.get(producer);
    if (slot === undefined || from === undefined || slot.generation !== generation) return;
    if (slot.state !== "leased" || slot.producer !== producer) return;
    from.leases.splice(from.leases.indexOf(slotNumber), 1);
    if (this.durations.push(now - from.since) > durationsKept) this.durations.shift();
    from.since = now;
    slot.producer = -1;
    this.ready(slot, outcome);
    this.freeIfUsed(slotNumber);
    this.schedule(now);
  }

  /** No new leases while paused: for changes that producers have to be restarted for. */
  setPaused(paused: boolean, now: number): void {
    this.paused = paused;
    this.schedule(now);
  }

  get isPaused(): boolean {
    return this.paused;
  }

  /** Nothing is leased. */
  get quiet(): boolean {
    return [...this.producers.values()].every(({ leases }) => leases.length === 0);
  }

  /** Seconds that a producer has for a batch: ten times the median, at least 2. */
  get leaseSeconds(): number {
    const sorted = [...this.durations].sort((a, b) => a - b);
    return sorted.length < 5 ? 60 : Math.max(2, 10 * (sorted[sorted.length >> 1] as number));
  }

  /** Looks for producers that hang and jobs that hold others up; call it a few times a second. */
  tick(now: number): void {
    for (const [producer, state] of this.producers)
      if (!state.killed && state.leases.length > 0 && now - state.since > this.leaseSeconds) {
        state.killed = true;
        this.actions.push({ kind: "kill", producer });
      }
    const limit = this.options.detachSeconds;
    if (limit === null || this.slots.some(({ state }) => state === "free")) return;
    const waits = [...this.jobs.values()].some(
      (j) => j.starvedAt !== null && now - j.starvedAt > limit,
    );
    if (!waits) return;
    for (const [job, state] of this.jobs)
      if (state.promised > state.delivered && now - state.usedAt > limit) this.detach(job, state);
    this.schedule(now);
  }

  /** What is to be done since the last call, in order. */
  take(): readonly Action[] {
    return this.actions.splice(0);
  }

  /** State of a slot, for its header in shared memory. */
  slot(i: number): Readonly<Omit<Slot, "jobs">> & { readonly jobs: ReadonlySet<number> } {
    return this.slots[i] as Slot;
  }

  /** Throws InvariantError when a promise of the header comment does not hold. */
  checkIntegrity(): void {
    const fail = (text: string): never => {
      throw new InvariantError(text);
    };
    for (const [name, job] of this.jobs) {
      if (!(job.next <= job.delivered && job.delivered <= job.promised))
        fail(`job ${name}: next ${job.next}, delivered ${job.delivered}, promised ${job.promised}`);
      for (let sequence = job.next; sequence < job.promised; sequence++) {
        const i = this.byId.get(key({ seed: job.seed, sequence }));
        if (i === undefined || !(this.slots[i] as Slot).jobs.has(name))
          fail(`job ${name} was promised batch ${sequence}, which is not staged for it`);
      }
    }
    this.slots.forEach((slot, i) => {
      for (const name of slot.jobs) {
        const job = this.jobs.get(name);
        if (job === undefined || slot.id.sequence < job.next || slot.id.sequence >= job.promised)
          fail(`slot ${i} waits for job ${name}, which was not promised batch ${slot.id.sequence}`);
      }
      if (slot.state === "ready" && slot.jobs.size === 0) fail(`slot ${i} is used and not free`);
      if (slot.state !== "free" && this.byId.get(key(slot.id)) !== i)
        fail(`slot ${i} is not found`);
      if (slot.producer >= 0 && !this.producers.get(slot.producer)?.leases.includes(i))
        fail(`slot ${i} is leased to producer ${slot.producer}, which does not know`);
    });
  }

  private ready(slot: Slot, outcome: Outcome): void {
    slot.state = "ready";
    slot.outcome = outcome;
  }

  private freeIfUsed(i: number): void {
    const slot = this.slots[i] as Slot;
    // A producer still writes to what is leased; without one, nobody does.
    if (slot.jobs.size > 0 || slot.state === "free" || slot.producer >= 0) return;
    this.byId.delete(key(slot.id));
    slot.state = "free";
    slot.generation++;
  }

  private detach(job: number, state: Job): void {
    for (let sequence = state.delivered; sequence < state.promised; sequence++) {
      const i = this.byId.get(key({ seed: state.seed, sequence })) as number;
      (this.slots[i] as Slot).jobs.delete(job);
      this.freeIfUsed(i);
    }
    state.promised = state.delivered;
    this.actions.push({ kind: "detached", job });
  }

  private schedule(now: number): void {
    this.extend();
    while (this.placeOne(now)) this.extend();
    for (const [job, state] of this.jobs) {
      state.starvedAt = state.promised > state.next ? null : (state.starvedAt ?? now);
      this.deliver(job, state);
    }
  }

  /** Promises every job what is staged from where its promises end. */
  private extend(): void {
    for (const [name, job] of this.jobs)
      for (;;) {
        const i = this.byId.get(key({ seed: job.seed, sequence: job.promised }));
        if (i === undefined) break;
        (this.slots[i] as Slot).jobs.add(name);
        job.promised++;
      }
  }

  /** Leases one batch: again what a producer left, else what the neediest job lacks. */
  private placeOne(now: number): boolean {
    if (this.paused) return false;
    const producer = this.freest();
    if (producer === null) return false;
    const orphan = this.slots.findIndex(({ state, producer: p }) => state === "leased" && p < 0);
    if (orphan >= 0) {
      (this.slots[orphan] as Slot).generation++;
      this.lease(orphan, producer, now);
      return true;
    }
    const free = this.slots.findIndex(({ state }) => state === "free");
    const job = this.neediest();
    if (free < 0 || job === null) return false;
    const slot = this.slots[free] as Slot;
    slot.id = { seed: job.seed, sequence: job.promised };
    slot.attempts = 0;
    slot.state = "leased";
    this.byId.set(key(slot.id), free);
    this.lease(free, producer, now);
    return true;
  }

  private lease(i: number, producer: number, now: number): void {
    const slot = this.slots[i] as Slot;
    const state = this.producers.get(producer) as Producer;
    if (state.leases.length === 0) state.since = now;
    state.leases.push(i);
    slot.producer = producer;
    const { generation, id } = slot;
    this.actions.push({ kind: "lease", producer, lease: { slot: i, generation, ...id } });
  }

  private freest(): number | null {
    let best: number | null = null;
    let least = this.options.leasesPerProducer;
    for (const [name, { leases, killed }] of this.producers)
      if (!killed && leases.length < least) {
        best = name;
        least = leases.length;
      }
    return best;
  }

  /** The job with the fewest promised batches; among those without any, the one that waits longest. */
  private neediest(): Job | null {
    let best: Job | null = null;
    const lead = (job: Job): number => job.promised - job.next;
    for (const job of this.jobs.values())
      if (
        best === null ||
        lead(job) < lead(best) ||
        (lead(job) === 0 && lead(best) === 0 && (job.starvedAt ?? 0) < (best.starvedAt ?? 0))
      )
        best = job;
    return best;
  }

  private deliver(name: number, job: Job): void {
    while (job.delivered < job.promised && job.delivered < job.next + deliveredAhead) {
      const id = { seed: job.seed, sequence: job.delivered };
      const i = this.byId.get(key(id)) as number;
      const slot = this.slots[i] as Slot;
      if (slot.state !== "ready") return;
      const { generation, outcome } = slot;
      this.actions.push({ kind: "deliver", job: name, slot: i, generation, id, outcome });
      job.delivered++;
    }
  }
}

const key = ({ seed, sequence }: BatchId): string => `${seed}:${sequence}`;
