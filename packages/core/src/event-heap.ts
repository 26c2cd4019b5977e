/** The event queue of a discrete-event simulation: earliest time first, equal times in the order they were pushed. */
import { invariant } from "./errors.ts";

/**
 * Binary heap ordered by (time, insertion sequence), so that runs are deterministic. Times are seconds, payloads
 * 32-bit integers (handles). Push and pop are O(log size) and allocate only when the heap outgrows its arrays.
 */
export class EventHeap {
  private times: Float64Array;
  private sequences: Float64Array;
  private payloads: Int32Array;
  private n = 0;
  private pushed = 0;

  constructor(capacity = 64) {
    this.times = new Float64Array(capacity);
    this.sequences = new Float64Array(capacity);
    this.payloads = new Int32Array(capacity);
  }

  /** Events waiting. */
  get size(): number {
    return this.n;
  }

  /** Time of the earliest event, Infinity when there is none. */
  get topTime(): number {
    return this.n === 0 ? Number.POSITIVE_INFINITY : this.times[0]!;
  }

  /** Payload of the earliest event; throws InvariantError when there is none. */
  get topPayload(): number {
    if (this.n === 0) invariant(false, "the event heap is empty");
    return this.payloads[0]!;
  }

  /** Adds an event; `time` may be any number but NaN. */
  push(time: number, payload: number): void {
    if (Number.isNaN(time) || (payload | 0) !== payload)
      invariant(false, `event at ${time} with payload ${payload}`);
    if (this.n === this.times.length) this.grow();
    const { times, sequences, payloads } = this;
    let at = this.n++;
    // A new event has the largest sequence number, so equal times never move past each other here.
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (times[parent]! <= time) break;
      times[at] = times[parent]!;
      sequences[at] = sequences[parent]!;
      payloads[at] = payloads[parent]!;
      at = parent;
    }
    times[at] = time;
    sequences[at] = this.pushed++;
    payloads[at] = payload;
  }

  /** Removes the earliest event and returns its payload; throws InvariantError when there is none. */
  pop(): number {
    if (this.n === 0) invariant(false, "the event heap is empty");
    const { times, sequences, payloads } = this;
    const top = payloads[0]!;
    const n = --this.n;
    const time = times[n]!;
    const sequence = sequences[n]!;
    const payload = payloads[n]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= n) break;
      const right = child + 1;
      if (
        right < n &&
        (times[right]! < times[child]! ||
          (times[right]! === times[child]! && sequences[right]! < sequences[child]!))
      )
        child = right;
      const childTime = times[child]!;
      if (childTime > time || (childTime === time && sequences[child]! > sequence)) break;
      times[at] = childTime;
      sequences[at] = sequences[child]!;
      payloads[at] = payloads[child]!;
      at = child;
    }
    times[at] = time;
    sequences[at] = sequence;
    payloads[at] = payload;
    return top;
  }

  /** Forgets all events and starts counting insertions anew. */
  clear(): void {
    this.n = 0;
    this.pushed = 0;
  }

  private grow(): void {
    const capacity = Math.max(16, this.times.length * 2);
    const times = new Float64Array(capacity);
    times.set(this.times);
    this.times = times;
    const sequences = new Float64Array(capacity);
    sequences.set(this.sequences);
    this.sequences = sequences;
    const payloads = new Int32Array(capacity);
    payloads.set(this.payloads);
    this.payloads = payloads;
  }
}
