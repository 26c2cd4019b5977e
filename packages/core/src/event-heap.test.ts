import fc from "fast-check";
import { expect, test } from "vitest";
import { EventHeap } from "./event-heap.ts";

test("any mix of pushes and pops yields what a stable sort yields", () => {
  const step = fc.oneof(fc.integer({ min: 0, max: 9 }), fc.constant(null));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const heap = new EventHeap(1);
      const model: { time: number; payload: number }[] = [];
      steps.forEach((time, payload) => {
        if (time === null) {
          if (model.length === 0) {
            expect(() => heap.pop()).toThrow(/empty/);
            return;
          }
          expect(heap.topTime).toBe(model[0]!.time);
          expect(heap.topPayload).toBe(model[0]!.payload);
          expect(heap.pop()).toBe(model.shift()!.payload);
        } else {
          heap.push(time, payload);
          model.push({ time, payload });
          model.sort((a, b) => a.time - b.time);
        }
        expect(heap.size).toBe(model.length);
      });
      while (model.length > 0) expect(heap.pop()).toBe(model.shift()!.payload);
      expect(heap.topTime).toBe(Number.POSITIVE_INFINITY);
    }),
  );
});

test("NaN times and payloads that are no integers are refused", () => {
  const heap = new EventHeap();
  expect(() => heap.push(Number.NaN, 1)).toThrow(/NaN/);
  expect(() => heap.push(1, 1.5)).toThrow(/1\.5/);
  heap.push(Number.POSITIVE_INFINITY, 3);
  expect(heap.pop()).toBe(3);
});
