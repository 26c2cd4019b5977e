import { Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Coordinator, type Lease } from "./coordinator.ts";

interface TestJob {
  at: number;
  readonly seen: number[];
  readonly delivered: { slot: number; generation: number; sequence: number }[];
}

/** Carries out actions as a server would, with slots as numbers: what a slot holds is the batch that was written last. */
class World {
  readonly coordinator: Coordinator;
  readonly jobs = new Map<number, TestJob>();
  readonly producers = new Map<number, Lease[]>();
  readonly memory = new Map<number, number>();
  prepared = 0;
  now = 0;
  private names = 0;

  constructor(slots: number, detachSeconds: number | null = null) {
    const options = { slots, leasesPerProducer: 2, detachSeconds, attempts: 1000 };
    this.coordinator = new Coordinator(options);
  }

  step(): void {
    this.coordinator.checkIntegrity();
    for (const action of this.coordinator.take()) {
      if (action.kind === "lease") this.producers.get(action.producer)?.push(action.lease);
      else if (action.kind === "kill") this.kill(action.producer);
      else if (action.kind === "deliver") {
        const { slot, generation, id } = action;
        this.jobs.get(action.job)?.delivered.push({ slot, generation, sequence: id.sequence });
      }
    }
  }

  join(at: number): number {
    const name = this.names++;
    this.jobs.set(name, { at, seen: [], delivered: [] });
    this.coordinator.join(name, { seed: 1, sequence: at }, this.now);
    this.step();
    return name;
  }

  leave(name: number): void {
    this.jobs.delete(name);
    this.coordinator.leave(name, this.now);
    this.step();
  }

  hire(): number {
    const name = this.names++;
    this.producers.set(name, []);
    this.coordinator.addProducer(name, this.now);
    this.step();
    return name;
  }

  kill(name: number): void {
    this.producers.delete(name);
    this.coordinator.producerGone(name, this.now);
    this.step();
  }

  /** A producer finishes its first lease; returns whether it had one. */
  produce(name: number): boolean {
    const lease = this.producers.get(name)?.shift();
    if (lease === undefined) return false;
    this.prepared++;
    this.memory.set(lease.slot, lease.sequence);
    this.coordinator.produced(
      name,
      lease.slot,
      lease.generation,
      { samples: 8, fetchedAt: 0 },
      this.now,
    );
    this.step();
    return true;
  }

  /** A job uses its next batch, if it was delivered; checks that the slot still holds it. */
  use(name: number): boolean {
    const job = this.jobs.get(name) as TestJob;
    const batch = job.delivered.shift();
    if (batch === undefined) return false;
    expect(batch.sequence).toBe(job.at);
    expect(this.memory.get(batch.slot)).toBe(batch.sequence);
    job.seen.push(job.at++);
    this.coordinator.used(name, { seed: 1, sequence: batch.sequence }, this.now);
    this.step();
    return true;
  }

  /** All go on until nobody can. */
  run(until: number): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const name of this.producers.keys()) moved = this.produce(name) || moved;
      for (const [name, job] of this.jobs) if (job.at < until) moved = this.use(name) || moved;
      this.now += 0.01;
    }
  }
}

test("jobs in step share every preparation", () => {
  const world = new World(4);
  world.hire();
  for (let i = 0; i < 8; i++) world.join(0);
  world.run(50);
  for (const job of world.jobs.values()) expect(job.at).toBe(50);
  expect(world.prepared).toBeLessThanOrEqual(54);
});

test("a late job has its batches made for it alone, and shares again when it has caught up", () => {
  const world = new World(6);
  const producer = world.hire();
  const first = world.join(0);
  while ((world.jobs.get(first) as TestJob).at < 20) {
    world.produce(producer);
    world.use(first);
  }
  const late = world.join(0);
  world.run(20);
  const before = world.prepared;
  expect((world.jobs.get(late) as TestJob).seen).toEqual([...Array(20).keys()]);
  world.run(60);
  // Both go through forty batches, each prepared once.
  expect(world.prepared - before).toBeLessThanOrEqual(46);
  expect((world.jobs.get(late) as TestJob).at).toBe(60);
});

test("a job that uses nothing holds the others by default, and is left behind on request", () => {
  for (const detach of [null, 5]) {
    const world = new World(6, detach);
    world.hire();
    const fast = world.join(0);
    const slow = world.join(0);
    const go = (): void => {
      for (let i = 0; i < 100; i++) {
        for (const name of world.producers.keys()) world.produce(name);
        world.use(fast);
      }
    };
    go();
    expect((world.jobs.get(fast) as TestJob).at).toBe(6);
    world.now = 10;
    world.coordinator.tick(world.now);
    world.step();
    go();
    expect((world.jobs.get(fast) as TestJob).at)[detach === null ? "toBe" : "toBeGreaterThan"](6);
    world.run(90);
    expect((world.jobs.get(slow) as TestJob).seen).toEqual([...Array(90).keys()]);
  }
});

test("a producer that takes ten times the median is ended, and its batches go to another", () => {
  const world = new World(4);
  const [good, bad] = [world.hire(), world.hire()];
  const job = world.join(0);
  for (let i = 0; i < 20; i++) {
    world.now += 0.5;
    world.produce(good);
    world.produce(bad);
    world.use(job);
  }
  expect(world.coordinator.leaseSeconds).toBeGreaterThanOrEqual(2);
  // The job takes what is staged; then both producers have all that their leases allow.
  for (let going = true; going; ) going = world.use(job);
  expect(world.producers.get(bad)?.length).toBe(2);
  world.now += world.coordinator.leaseSeconds + 1;
  world.produce(good);
  world.coordinator.tick(world.now);
  world.step();
  expect([...world.producers.keys()]).not.toContain(bad);
  world.run(60);
  expect((world.jobs.get(job) as TestJob).seen).toEqual([...Array(60).keys()]);
});

test("a batch on which producers keep dying is given up with a reason", () => {
  const coordinator = new Coordinator({
    slots: 2,
    leasesPerProducer: 1,
    detachSeconds: null,
    attempts: 3,
  });
  coordinator.join(0, { seed: 1, sequence: 0 }, 0);
  for (let i = 0; i < 3; i++) {
    coordinator.addProducer(i, 0);
    coordinator.producerGone(i, 0);
  }
  expect(coordinator.take().at(-1)).toMatchObject({
    kind: "deliver",
    id: { sequence: 0 },
    outcome: { error: "3 producers ended while they prepared the batch" },
  });
});

describe("whatever joins, leaves, dies and stalls", () => {
  test("every job sees every batch from its place on exactly once, in order, and none waits for ever", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 2, max: 7 }), (seed, slots) => {
        const rng = new Rng(seed);
        const world = new World(slots, rng.next() < 0.5 ? 0.5 : null);
        const pick = <T>(from: Iterable<T>): T => {
          const all = [...from];
          return all[rng.int(0, all.length - 1)] as T;
        };
        world.hire();
        const starts = new Map<number, number>();
        const join = (): void => {
          const at = rng.int(0, 30);
          starts.set(world.join(at), at);
        };
        join();
        for (let i = 0; i < 400; i++) {
          const draw = rng.next();
          world.now += rng.next() * 0.2;
          if (draw < 0.45) world.produce(pick(world.producers.keys()));
          else if (draw < 0.9) world.use(pick(world.jobs.keys()));
          else if (draw < 0.93 && world.jobs.size < 6) join();
          else if (draw < 0.95 && world.jobs.size > 1) world.leave(pick(world.jobs.keys()));
          else if (draw < 0.97 && world.producers.size < 4) world.hire();
          else if (draw < 0.98) {
            world.kill(pick(world.producers.keys()));
            if (world.producers.size === 0) world.hire();
          } else {
            world.coordinator.tick(world.now);
            world.step();
            if (world.producers.size === 0) world.hire();
          }
        }
        world.run(120);
        for (const [name, { seen, at }] of world.jobs) {
          const from = starts.get(name) as number;
          expect(at).toBeGreaterThanOrEqual(120);
          expect(seen).toEqual(Array.from({ length: at - from }, (_, i) => from + i));
        }
      }),
      { numRuns: 150 },
    );
  });
});
