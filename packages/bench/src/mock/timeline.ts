/** The mock's times of every token, in the words of Millrace's server (docs/serving.md), on a clock that may be wrong. */
import type { StepTimes } from "./batch.ts";
import type { ResolvedMock } from "./options.ts";

/** What performance.now() is behind the machine's monotonic clock, ms. */
const behindMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

interface Columns {
  readonly tokens: number[];
  readonly step: number[];
  readonly plannedUs: number[];
  readonly submittedUs: number[];
  readonly completedUs: number[];
  readonly busyUs: number[];
  readonly writtenUs: number[];
}

export class MockTimeline {
  private readonly offsetMs: number;
  private readonly rate: number;
  private readonly arrivedUs: number;
  private admittedUs = -1;
  private readonly events: number[][] = [];
  private readonly columns: Columns = {
    ...{ tokens: [], step: [], plannedUs: [], submittedUs: [], completedUs: [] },
    ...{ busyUs: [], writtenUs: [] },
  };

  constructor({ clockOffsetMs, clockDriftPpm }: ResolvedMock, arrivedMs: number) {
    this.offsetMs = clockOffsetMs;
    this.rate = 1 + clockDriftPpm / 1e6;
    this.arrivedUs = this.clock(arrivedMs);
  }

  admitted(plannedMs: number): void {
    this.admittedUs = this.since(plannedMs);
  }

  /** `event`: number of the first choice's line; the others follow it. */
  tokens(
    event: number,
    choices: number,
    tokens: number,
    times: StepTimes,
    writtenMs: number,
  ): void {
    for (let i = 0; i < choices; i++) {
      const events = this.events[i] ?? [];
      this.events[i] = events;
      events.push(event + i);
    }
    const { columns } = this;
    columns.tokens.push(tokens);
    columns.step.push(times.step);
    columns.plannedUs.push(this.since(times.plannedMs));
    columns.submittedUs.push(this.since(times.plannedMs));
    columns.completedUs.push(this.since(times.completedMs));
    columns.busyUs.push(Math.round(times.busyMs * 1e3 * this.rate));
    columns.writtenUs.push(this.since(writtenMs));
  }

  end(): object {
    return {
      schema: "millrace.timeline/1",
      clock: `mock-${process.pid}`,
      arrivedUs: this.arrivedUs,
      choices: this.events.map((event, index) => ({
        ...{ index, queuedUs: 0, admittedUs: this.admittedUs, event },
        ...this.columns,
      })),
    };
  }

  private since(ms: number): number {
    return this.clock(ms) - this.arrivedUs;
  }

  private clock(ms: number): number {
    return Math.round(((ms + behindMs) * this.rate + this.offsetMs) * 1e3);
  }
}
