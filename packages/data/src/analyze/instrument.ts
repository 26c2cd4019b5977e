/**
 * The analyzer's hooks inside a training program. `millrace data analyze DATASET -- COMMAND` runs the program three
 * times (DS-Analyzer §3.2) and tells it the phase in MILLRACE_ANALYZE: synthetic (one batch, again and again), cached,
 * cold. The program appends a line {"samples": n, "seconds": s} per step to the file MILLRACE_ANALYZE_OUT; with
 * MILLRACE_ANALYZE_SAMPLES it knows how many samples to stop after. Programs in other languages do the same by hand.
 */
import { appendFileSync } from "node:fs";
import type { BatchSource, Loan, SourceState, StallReport } from "@millrace/core/job";

/** What a run leaves out: the program's own data (synthetic), storage (cached), nothing (cold). */
export type AnalyzePhase = "synthetic" | "cached" | "cold";

export const analyzePhases: readonly AnalyzePhase[] = ["cold", "cached", "synthetic"];

/** The source itself when the program is not being analyzed; otherwise one that plays its part and takes times. */
export function instrument<B>(
  source: BatchSource<B>,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): BatchSource<B> {
  const phase = environment["MILLRACE_ANALYZE"];
  const out = environment["MILLRACE_ANALYZE_OUT"];
  if (phase === undefined || out === undefined) return source;
  const samples = Number(environment["MILLRACE_ANALYZE_SAMPLES"] ?? Number.POSITIVE_INFINITY);
  return new InstrumentedSource(source, phase === "synthetic", out, samples);
}

class InstrumentedSource<B> implements BatchSource<B> {
  private readonly inner: BatchSource<B>;
  private readonly synthetic: boolean;
  private readonly out: string;
  private readonly most: number;
  private first: Loan<B> | null = null;
  private done = 0;
  /** When the batch that is being computed was handed out, and its samples. */
  private last: { readonly at: number; readonly samples: number } | null = null;

  constructor(inner: BatchSource<B>, synthetic: boolean, out: string, most: number) {
    this.inner = inner;
    this.synthetic = synthetic;
    this.out = out;
    this.most = most;
  }

  async next(signal?: AbortSignal): Promise<Loan<B> | null> {
    if (this.done >= this.most) {
      this.step();
      this.done = 0;
      return null;
    }
    const loan = this.synthetic ? await this.again(signal) : await this.inner.next(signal);
    this.step();
    if (loan === null) return null;
    this.last = { at: performance.now(), samples: loan.samples };
    this.done += loan.samples;
    return loan;
  }

  state(): SourceState {
    return this.inner.state();
  }

  seek(state: SourceState): void {
    this.inner.seek(state);
  }

  setCacheBytes(bytes: number): void {
    this.inner.setCacheBytes(bytes);
  }

  stalls(): StallReport {
    return this.inner.stalls();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.first?.release();
    this.first = null;
    await this.inner[Symbol.asyncDispose]();
  }

  /** The first batch, which stays on loan: what it points at is valid as long as it is given out. */
  private async again(signal: AbortSignal | undefined): Promise<Loan<B> | null> {
    this.first ??= await this.inner.next(signal);
    return (
      this.first && { batch: this.first.batch, samples: this.first.samples, release: () => {} }
    );
  }

  /** A step reaches from one batch to the next. */
  private step(): void {
    if (this.last === null) return;
    const { at, samples } = this.last;
    this.last = null;
    const line = JSON.stringify({ samples, seconds: (performance.now() - at) / 1000 });
    appendFileSync(this.out, `${line}\n`);
  }
}
