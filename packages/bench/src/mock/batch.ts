/**
 * The mock's engine: continuous batching in steps of real time. Which tokens come in which step follows from the options
 * and the order of arrivals alone; only the clock is real.
 */
import { Rng } from "@millrace/core";
import type { ResolvedMock } from "./options.ts";

/** A request in the engine. */
export interface MockRequest {
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Called once a step in which it gets tokens, at the end of the step. */
  emit(tokens: number, last: boolean): void;
  /** Cancelled by the client. */
  gone: boolean;
}

interface Row {
  readonly request: MockRequest;
  computed: number;
  emitted: number;
}

export class MockEngine {
  readonly counts = { steps: 0, tokens: 0, prompts: 0 };
  private readonly options: ResolvedMock;
  private readonly rng: Rng;
  private readonly waiting: Row[] = [];
  private running: Row[] = [];
  private stepping = false;
  private closed = false;
  private nextEntryMs = 0;

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
      this.waiting.push({ request, computed: 0, emitted: 0 });
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
    const plan = this.plan();
    const { stepMs, prefillTokensPerSecond, noise } = this.options;
    const factor = noise > 0 ? Math.exp(noise * this.rng.normal() - (noise * noise) / 2) : 1;
    const ms = (stepMs + (1000 * plan.prefill) / prefillTokensPerSecond) * factor;
    const done = (): void => {
      this.apply(plan.rows);
      this.counts.steps += 1;
      this.step();
    };
    if (stepMs === 0) setImmediate(done);
    else setTimeout(done, ms);
  }

  /** Rows of the step with the prompt tokens that they compute; 0 = decodes. */
  private plan(): { readonly rows: readonly (readonly [Row, number])[]; readonly prefill: number } {
    const { scheduler, chunkTokens } = this.options;
    const filling = this.running.filter((row) => row.computed < row.request.promptTokens);
    const decodes = this.running.filter((row) => row.computed >= row.request.promptTokens);
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

  private apply(rows: readonly (readonly [Row, number])[]): void {
    const { speculative } = this.options;
    for (const [row, chunk] of rows) {
      row.computed += chunk;
      const { request } = row;
      if (row.computed < request.promptTokens || request.gone) continue;
      if (chunk > 0) this.counts.prompts += 1;
      const drawn = speculative > 1 && chunk === 0 ? this.rng.int(1, speculative) : 1;
      const tokens = Math.min(drawn, request.outputTokens - row.emitted);
      row.emitted += tokens;
      this.counts.tokens += tokens;
      const last = row.emitted >= request.outputTokens;
      if (last) request.gone = true;
      request.emit(tokens, last);
    }
  }
}
