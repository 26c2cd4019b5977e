/**
 * When the server did what for one streamed request: kept while it runs and told behind its last token, so that the
 * stream itself is what it would be without (docs/serving.md, "Times of every token"). Costs a few numbers per token.
 */
import { randomUUID } from "node:crypto";
import type { TokenTimes } from "../contracts.ts";
import type { TokensEvent } from "./generation.ts";

/** Whose clock it is: times of one server process can be compared, those of two cannot. */
const clock = randomUUID();
/** What performance.now() is behind the machine's monotonic clock, ms. */
const behindMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** One choice: columns of equal length, one row per event of the engine. Times in whole µs since `arrivedUs`. */
export interface ChoiceTimeline {
  readonly index: number;
  /** The request was read, and given to the engine. */
  readonly queuedUs: number;
  /** Planning of the first step with a row of it began; -1 where the engine does not tell. */
  readonly admittedUs: number;
  /** Which `data:` line of the stream, from 0, showed these tokens; -1: none, a later one shows their text. */
  readonly event: readonly number[];
  readonly tokens: readonly number[];
  /** The step that gave them, as in the timing log. */
  readonly step: readonly number[];
  readonly plannedUs: readonly number[];
  readonly submittedUs: readonly number[];
  readonly completedUs: readonly number[];
  /** µs of computing in all steps up to and with this one that had a row of the sequence. */
  readonly busyUs: readonly number[];
  /** The event went to the socket; -1 with event -1. */
  readonly writtenUs: readonly number[];
}

/** The last event before [DONE] carries it as `timeline`. */
export interface RequestTimeline {
  readonly schema: "millrace.timeline/1";
  readonly clock: string;
  /** The request's headers were there: µs on that clock. */
  readonly arrivedUs: number;
  readonly choices: readonly ChoiceTimeline[];
}

interface Row {
  event: number;
  readonly tokens: number;
  readonly step: number;
  readonly times: TokenTimes;
}

/** Collects the times of one request. */
export class TimelineRecorder {
  private readonly arrivedUs: number;
  private readonly queuedUs: number;
  private readonly admitted = new Map<number, number>();
  private readonly rows = new Map<number, Row[]>();
  /** By event of the stream, µs on the clock. */
  private readonly written: number[] = [];

  /** `arrivedMs` on performance.now(); made when the request goes to the engine. */
  constructor(arrivedMs: number) {
    this.arrivedUs = microseconds(arrivedMs);
    this.queuedUs = microseconds(performance.now());
  }

  /** Times of a choice's first step: seconds, null where the engine does not tell. */
  planned(choice: number, seconds: number | null): void {
    if (seconds !== null) this.admitted.set(choice, Math.round(seconds * 1e6));
  }

  /** `event`: the data line that shows the tokens, -1 for none. */
  tokens(choice: number, { step, tokens, times }: TokensEvent, event: number): void {
    let rows = this.rows.get(choice);
    if (rows === undefined) {
      rows = [];
      this.rows.set(choice, rows);
    }
    // Text that was held back to the end has no step of its own.
    if (times !== undefined) rows.push({ event, tokens: tokens.length, step, times });
  }

  /** The choice ended, and data line `event` told it: with the text that had been held back, where there was some. */
  finished(choice: number, event: number): void {
    const last = this.rows.get(choice)?.at(-1);
    if (last !== undefined && last.event < 0) last.event = event;
  }

  /** All events before number `count` have gone to the socket. */
  wrote(count: number): void {
    const now = microseconds(performance.now());
    while (this.written.length < count) this.written.push(now);
  }

  /** What there is to tell, after the last write. */
  end(): RequestTimeline {
    const since = (us: number) => us - this.arrivedUs;
    const of = (seconds: number) => since(Math.round(seconds * 1e6));
    return {
      schema: "millrace.timeline/1",
      clock,
      arrivedUs: this.arrivedUs,
      choices: [...this.rows].map(([index, rows]) => {
        const admitted = this.admitted.get(index);
        return {
          index,
          queuedUs: since(this.queuedUs),
          admittedUs: admitted === undefined ? -1 : since(admitted),
          event: rows.map(({ event }) => event),
          tokens: rows.map(({ tokens }) => tokens),
          step: rows.map(({ step }) => step),
          plannedUs: rows.map(({ times }) => of(times.planned)),
          submittedUs: rows.map(({ times }) => of(times.submitted)),
          completedUs: rows.map(({ times }) => of(times.completed)),
          busyUs: rows.map(({ times }) => Math.round(times.busy * 1e6)),
          writtenUs: rows.map(({ event }) => {
            const at = this.written[event];
            return at === undefined ? -1 : since(at);
          }),
        };
      }),
    };
  }
}

/** performance.now() as µs on the machine's monotonic clock. */
function microseconds(ms: number): number {
  return Math.round((ms + behindMs) * 1e3);
}
