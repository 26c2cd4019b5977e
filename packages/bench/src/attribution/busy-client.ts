/** When this program did not read: spans in which the canary, a stream with known send times, lay unread. */
import type { WorkerHealth } from "../contracts.ts";

/** Lateness that is the wake-up of a thread and no delay, µs. */
const USUAL_US = 1000;

/** Spans by worker, and how much of a time they cover. */
export class BusyClient {
  private readonly spans: ReadonlyMap<number, Float64Array>;

  constructor(workers: readonly WorkerHealth[]) {
    this.spans = new Map(
      workers.map(({ worker, canaryAtUs, canaryLatenessUs }) => [
        worker,
        merged(canaryAtUs, canaryLatenessUs),
      ]),
    );
  }

  /** µs of [from, to] in which the worker read nothing although something lay there. O(log spans + spans in it). */
  within(worker: number, fromUs: number, toUs: number): number {
    const spans = this.spans.get(worker);
    if (spans === undefined || toUs <= fromUs) return 0;
    let low = 0;
    let high = spans.length / 2;
    while (low < high) {
      const half = (low + high) >> 1;
      if ((spans[2 * half + 1] as number) < fromUs) low = half + 1;
      else high = half;
    }
    let covered = 0;
    for (let i = low; 2 * i < spans.length && (spans[2 * i] as number) < toUs; i++)
      covered +=
        Math.min(toUs, spans[2 * i + 1] as number) - Math.max(fromUs, spans[2 * i] as number);
    return Math.max(0, covered);
  }
}

/** Starts and ends of the spans, ascending, without overlap. */
function merged(atUs: readonly number[], latenessUs: readonly number[]): Float64Array {
  const spans: number[] = [];
  atUs.forEach((at, i) => {
    const late = latenessUs[i] as number;
    if (late < USUAL_US) return;
    // An event that was read on time closes what was before it: the span began behind it, at the latest when this was sent.
    const from = at - late;
    const last = spans.length - 1;
    if (spans.length > 0 && from <= (spans[last] as number))
      spans[last] = Math.max(spans[last] as number, at);
    else spans.push(from, at);
  });
  return Float64Array.from(spans);
}
