/**
 * The order in which the published simulator handles events of one instant: that of CPython's heapq, whose ties depend
 * on the shape of the heap. Kept to the letter, because runnable jobs with equal keys keep the order of their arrival.
 */

/** Kinds of events in their order at equal time (Synergy's event types). */
export const eventKind = { arrival: 1, leaseEnd: 3, schedule: 4 } as const;

/** A binary heap of (time, kind, job), sifted exactly as heapq.heappush and heapq.heappop do. */
export class EventQueue {
  private times = new Float64Array(1024);
  private kinds = new Uint8Array(1024);
  private jobs = new Int32Array(1024);
  private size = 0;
  /** The event that `pop` took out. */
  time = 0;
  kind = 0;
  job = -1;

  /** Adds an event; `job` is a row of the trace, or -1. */
  push(time: number, kind: number, job: number): void {
    if (this.size === this.times.length) this.grow();
    this.siftDown(0, this.size++, time, kind, job);
  }

  /** Takes the first event into time, kind and job; false when there is none. */
  pop(): boolean {
    if (this.size === 0) return false;
    const last = --this.size;
    const time = this.times[last] as number;
    const kind = this.kinds[last] as number;
    const job = this.jobs[last] as number;
    if (last === 0) {
      this.time = time;
      this.kind = kind;
      this.job = job;
      return true;
    }
    this.time = this.times[0] as number;
    this.kind = this.kinds[0] as number;
    this.job = this.jobs[0] as number;
    // heapq moves the smaller child up until it meets a leaf, then sifts the last item down from there.
    let at = 0;
    for (let child = 1; child < last; child = 2 * at + 1) {
      const right = child + 1;
      if (
        right < last &&
        !this.before(child, this.times[right] as number, this.kinds[right] as number)
      )
        child = right;
      this.times[at] = this.times[child] as number;
      this.kinds[at] = this.kinds[child] as number;
      this.jobs[at] = this.jobs[child] as number;
      at = child;
    }
    this.siftDown(0, at, time, kind, job);
    return true;
  }

  private siftDown(start: number, from: number, time: number, kind: number, job: number): void {
    let at = from;
    while (at > start) {
      const parent = (at - 1) >> 1;
      const parentTime = this.times[parent] as number;
      if (!(time === parentTime ? kind < (this.kinds[parent] as number) : time < parentTime)) break;
      this.times[at] = parentTime;
      this.kinds[at] = this.kinds[parent] as number;
      this.jobs[at] = this.jobs[parent] as number;
      at = parent;
    }
    this.times[at] = time;
    this.kinds[at] = kind;
    this.jobs[at] = job;
  }

  private before(at: number, time: number, kind: number): boolean {
    const own = this.times[at] as number;
    return own === time ? (this.kinds[at] as number) < kind : own < time;
  }

  private grow(): void {
    const times = new Float64Array(2 * this.times.length);
    const kinds = new Uint8Array(times.length);
    const jobs = new Int32Array(times.length);
    times.set(this.times);
    kinds.set(this.kinds);
    jobs.set(this.jobs);
    this.times = times;
    this.kinds = kinds;
    this.jobs = jobs;
  }
}
