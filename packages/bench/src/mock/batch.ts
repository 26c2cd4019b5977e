/**
 * The mock's engine: continuous batching in steps of real time. Which tokens come in which step follows from the options
 * and the order of arrivals alone; only the clock is real.
 */
import { Rng } from "@millrace/core";
import type { MockStall, ResolvedMock } from "./options.ts";

/** When a step was what, ms on performance.now(). */
export interface StepTimes {
  readonly step: number;
  readonly plannedMs: number;
  readonly completedMs: number;
  /** Computing of all steps so far with the request in them, this one too. */
  readonly busyMs: number;
}

/** A request in the engine. */
export interface MockRequest {
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Its first step was planned. */
  admitted(plannedMs: number): void;
  /** Called once a step in which it gets tokens, at the end of the step. */
  emit(tokens: number, last: boolean, times: StepTimes): void;
  /** Cancelled by the client. */
  gone: boolean;
}

interface Row {
  readonly request: MockRequest;
  computed: number;
  emitted: number;
  busyMs: number;
  /** Not planned before. */
  heldUntilMs: number;
  /** Token whose stall has been served. */
  stalledAt: number;
}

/** How late a timer may be and still be taken for one that was on time. */
const TIMER_MS = 3;

export class MockEngine {
  readonly counts = { steps: 0, tokens: 0, prompts: 0 };
  private readonly options: ResolvedMock;
  private readonly rng: Rng;
  private readonly waiting: Row[] = [];
  private running: Row[] = [];
  private stepping = false;
  private closed = false;
  private nextEntryMs = 0;
  /** When the last step was due to end, ms. */
  private dueMs = 0;

  constructor(options: ResolvedMock) {
    this.options = options;
    this.rng = new Rng(options.seed).fork("steps");
  }

  get runningCount(): number {
    return this.running.length;
  }

  get waitingCount(): number {
    return this.waiting.length;
  }

  enqueue(request: MockRequest): void {
    const enter = (): void => {
      this.waiting.push({
        ...{ request, computed: 0, emitted: 0, busyMs: 0, heldUntilMs: 0, stalledAt: -1 },
      });
      this.wake();
    };
    const { capacityQps } = this.options;
    if (!Number.isFinite(capacityQps)) {
      enter();
      return;
    }
    const now = performance.now();
    this.nextEntryMs = Math.max(now, this.nextEntryMs + 1000 / capacityQps);
    setTimeout(enter, this.nextEntryMs - now);
  }

  close(): void {
    this.closed = true;
  }

  private wake(): void {
    if (this.stepping || this.closed) return;
    this.stepping = true;
    // Requests that arrive in one turn of the event loop share a batch.
    setImmediate(() => this.step());
  }

  private step(): void {
    this.running = this.running.filter(({ request }) => !request.gone);
    while (this.running.length < this.options.maxBatch) {
      const row = this.waiting.shift();
      if (row === undefined) break;
      if (!row.request.gone) this.running.push(row);
    }
    if (this.running.length === 0 || this.closed) {
      this.stepping = false;
      return;
    }
    const plannedMs = performance.now();
    this.hold(plannedMs);
    const plan = this.plan(plannedMs);
    if (plan.rows.length === 0) {
      const until = Math.min(...this.running.map(({ heldUntilMs }) => heldUntilMs));
      setTimeout(() => this.step(), Math.max(0, until - plannedMs));
      return;
    }
    const { stepMs, prefillTokensPerSecond, noise } = this.options;
    const factor = noise > 0 ? Math.exp(noise * this.rng.normal() - (noise * noise) / 2) : 1;
    const slower = this.slowness(plan.rows);
    const ms = (stepMs + (1000 * plan.prefill) / prefillTokensPerSecond) * factor + slower;
    for (const [row] of plan.rows)
      if (row.computed === 0 && row.busyMs === 0) row.request.admitted(plannedMs);
    const done = (): void => {
      this.apply(plan.rows, plannedMs);
      this.counts.steps += 1;
      this.step();
    };
    if (stepMs === 0 && slower === 0) setImmediate(done);
    else {
      // Timers are a little late; steps that follow each other count from when the last one was due, not from its timer.
      const late = plannedMs - this.dueMs;
      this.dueMs = (late < Math.min(TIMER_MS, ms) ? this.dueMs : plannedMs) + ms;
      setTimeout(done, this.dueMs - plannedMs);
    }
  }

  /** Requests whose next token is to be kept waiting are left out of steps from now on. */
  private hold(nowMs: number): void {
    for (const row of this.running) {
      if (row.stalledAt >= row.emitted || !gives(row)) continue;
      const stall = this.stallOf("scheduling", row.emitted);
      if (stall === 0) continue;
      row.stalledAt = row.emitted;
      row.heldUntilMs = nowMs + stall;
    }
  }

  /** What the step is slower by for the tokens that it gives, ms. */
  private slowness(rows: readonly (readonly [Row, number])[]): number {
    return Math.max(
      0,
      ...rows.map(([row, chunk]) =>
        row.computed + chunk >= row.request.promptTokens ? this.stallOf("compute", row.emitted) : 0,
      ),
    );
  }

  private stallOf(cause: MockStall["cause"], token: number): number {
    return this.options.stalls.reduce(
      (ms, stall) => (stall.cause === cause && stall.token === token ? ms + stall.ms : ms),
      0,
    );
  }

  /** Rows of the step with the prompt tokens that they compute; 0 = decodes. */
  private plan(nowMs: number): {
    readonly rows: readonly (readonly [Row, number])[];
    readonly prefill: number;
  } {
    const { scheduler, chunkTokens } = this.options;
    const free = this.running.filter(({ heldUntilMs }) => heldUntilMs <= nowMs);
    const filling = free.filter((row) => row.computed < row.request.promptTokens);
    const decodes = free.filter((row) => row.computed >= row.request.promptTokens);
    const rows: (readonly [Row, number])[] = [];
    let prefill = 0;
    for (const row of filling) {
      const left = row.request.promptTokens - row.computed;
      const chunk = scheduler === "chunked" ? Math.min(left, chunkTokens - prefill) : left;
      if (chunk <= 0) break;
      rows.push([row, chunk]);
      prefill += chunk;
    }
    if (scheduler === "chunked" || filling.length === 0)
      for (const row of decodes) rows.push([row, 0]);
    return { rows, prefill };
  }

  private apply(rows: readonly (readonly [Row, number])[], plannedMs: number): void {
    const { speculative } = this.options;
    const completedMs = performance.now();
    const step = this.counts.steps;
    for (const [row, chunk] of rows) {
      row.computed += chunk;
      row.busyMs += completedMs - plannedMs;
      const { request } = row;
      if (row.computed < request.promptTokens || request.gone) continue;
      if (chunk > 0) this.counts.prompts += 1;
      const drawn = speculative > 1 && chunk === 0 ? this.rng.int(1, speculative) : 1;
      const tokens = Math.min(drawn, request.outputTokens - row.emitted);
      row.emitted += tokens;
      this.counts.tokens += tokens;
      const last = row.emitted >= request.outputTokens;
      if (last) request.gone = true;
      request.emit(tokens, last, { step, plannedMs, completedMs, busyMs: row.busyMs });
    }
  }
}

/** Whether the next step with the row may give a token. */
function gives({ computed, request }: Row): boolean {
  return computed >= request.promptTokens || computed === 0;
}
