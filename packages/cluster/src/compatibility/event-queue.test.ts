import fc from "fast-check";
import { expect, test } from "vitest";
import { EventQueue, eventKind } from "./event-queue.ts";

const kinds = Object.values(eventKind);

test("events come out by time, then by kind", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(20), fc.constantFrom(...kinds)), { maxLength: 2000 }),
      (events) => {
        const queue = new EventQueue();
        for (const [job, [time, kind]] of events.entries()) queue.push(time, kind, job);
        const out: [number, number][] = [];
        while (queue.pop()) out.push([queue.time, queue.kind]);
        expect(out).toEqual([...events].sort((a, b) => a[0] - b[0] || a[1] - b[1]));
      },
    ),
    { numRuns: 50 },
  );
});

test("ties come out as CPython's heapq gives them", () => {
  // python3 -c: push (0, i) for i in 0..9 as objects that compare by time alone, then pop all.
  const queue = new EventQueue();
  for (let job = 0; job < 10; job++) queue.push(0, eventKind.arrival, job);
  const order: number[] = [];
  while (queue.pop()) order.push(queue.job);
  expect(order).toEqual([0, 2, 6, 9, 8, 5, 7, 4, 1, 3]);
});
