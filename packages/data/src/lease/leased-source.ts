/**
 * A source under a lease (the training loop's join, core/job): what a job does anyway, taking batches and giving them back,
 * tells its scheduler how fast it is and how long it waits; and what the scheduler grants becomes the source's cache and
 * workers. A trainer that reports its steps itself needs none of this.
 */
import type { BatchSource, JobLease, Loan, SourceState, StallReport } from "@millrace/core/job";

export interface LeasedSourceOptions {
  /** Steps that the job made in earlier starts; default 0. */
  readonly step?: number;
  /** Clock in seconds, default the machine's. */
  readonly now?: () => number;
}

/** Sources whose workers can be set have the second method. */
export type LeasableSource<B> = BatchSource<B> & { setWorkers?(count: number): void };

/**
 * One batch is one step: it reaches from the batch to the next call of `next`, which counts as waiting. The source and
 * the lease are disposed by their owner, after this.
 */
export class LeasedSource<B> implements BatchSource<B> {
  private readonly source: LeasableSource<B>;
  private readonly lease: JobLease;
  private readonly now: () => number;
  private step: number;
  private out: { readonly at: number; readonly waited: number; readonly samples: number } | null =
    null;
  private cacheBytes: number | null = null;
  private workers: number | null = null;

  constructor(source: LeasableSource<B>, lease: JobLease, options: LeasedSourceOptions = {}) {
    this.source = source;
    this.lease = lease;
    this.step = options.step ?? 0;
    this.now = options.now ?? (() => performance.now() / 1000);
    this.follow();
  }

  /** Rejects with the scheduler's reason when it asks the job to stop, too; no batch is lost by that. */
  async next(signal?: AbortSignal): Promise<Loan<B> | null> {
    this.report();
    this.follow();
    const { stop } = this.lease;
    const began = this.now();
    const loan = await this.source.next(
      signal === undefined ? stop : AbortSignal.any([signal, stop]),
    );
    if (loan === null) return null;
    const at = this.now();
    this.out = { at, waited: at - began, samples: loan.samples };
    return loan;
  }

  state(): SourceState {
    return this.source.state();
  }

  seek(state: SourceState): void {
    this.source.seek(state);
  }

  setCacheBytes(bytes: number): void {
    this.source.setCacheBytes(bytes);
  }

  stalls(): StallReport {
    return this.source.stalls();
  }

  /** Reports the last step; the source stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.report();
  }

  private report(): void {
    if (this.out === null) return;
    const { at, waited, samples } = this.out;
    this.out = null;
    this.lease.report(++this.step, this.now() - at, waited, samples);
  }

  /** Hands on what changed of the grant; the source acts at its next epoch. */
  private follow(): void {
    const { cacheBytes, cpus } = this.lease.grant();
    const workers = Math.max(1, Math.floor(cpus));
    if (cacheBytes !== this.cacheBytes) this.source.setCacheBytes(cacheBytes);
    if (workers !== this.workers) this.source.setWorkers?.(workers);
    this.cacheBytes = cacheBytes;
    this.workers = workers;
  }
}
