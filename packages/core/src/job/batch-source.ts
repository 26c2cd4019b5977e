/**
 * Where batches come from. A source is a position in an endless sequence of epochs: the seed fixes the order of every
 * epoch, so (seed, epoch, position) names the next batch exactly, whatever the number of workers.
 */

/** A place in a source's sequence; plain data, safe to write into a checkpoint. */
export interface SourceState {
  /** Seed of the global shuffle and of every per-sample draw; an integer, 0 ... 2^53 - 1. */
  readonly seed: number;
  /** Epochs completed, from 0. */
  readonly epoch: number;
  /** Samples of this epoch that were handed out, from 0 to the epoch's length. */
  readonly position: number;
}

/** A batch on loan. What it points at is valid until `release`, which is called exactly once. */
export interface Loan<B> {
  readonly batch: B;
  /** Samples in the batch, at least 1; the last batch of an epoch may be short. */
  readonly samples: number;
  release(): void;
}

/** Where the time of a consumer went, in seconds since the source was opened. */
export interface StallReport {
  readonly batches: number;
  readonly samples: number;
  /** Time inside `next` before a batch was there. */
  readonly waitSeconds: number;
  /** The part of it in which the next batch's bytes were not there yet (fetch stall). */
  readonly fetchSeconds: number;
  /** The part of it in which the bytes were there and preparation was not done (prep stall). */
  readonly prepSeconds: number;
}

/**
 * Hands out batches in order. One consumer: `next` is not called again before the last call has settled. A source that
 * prepares ahead bounds what it holds; a consumer that never releases gets no further batches.
 */
export interface BatchSource<B> extends AsyncDisposable {
  /**
   * The next batch, or null at the end of an epoch (the call after that begins the next one). Rejects with the signal's
   * reason when it aborts: no batch is lost, the next call hands out what this one would have. Rejects with
   * MillraceError when the policy for bad samples is `fail`.
   */
  next(signal?: AbortSignal): Promise<Loan<B> | null>;
  /** The place of the next batch that was not handed out yet. */
  state(): SourceState;
  /** Goes to a place; the seed becomes that of the state. Batches on loan stay valid. */
  seek(state: SourceState): void;
  /** Bounds the cache of raw samples, bytes; takes effect at the next epoch's start. */
  setCacheBytes(bytes: number): void;
  stalls(): StallReport;
}
