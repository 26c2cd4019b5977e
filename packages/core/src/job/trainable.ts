/** What computes: a model with its optimizer, fed with batches by somebody else. */

/** What a step will take, by the implementation's own model. */
export interface StepPrediction {
  readonly stepSeconds: number;
  /** Bytes of true peak: device memory of a step, everything counted that the step allocates. */
  readonly peakBytes: number;
}

/** What a step took. */
export interface StepResult {
  /** Mean loss over the batch. */
  readonly loss: number;
  readonly seconds: number;
  readonly peakBytes: number;
}

/**
 * A model in training. `step` is called one at a time. After `save(dir)` and `load(dir)` in another process, equal
 * batches give equal losses, bit for bit: optimizer state, random seeds and step number are part of what is saved.
 */
export interface Trainable<B> extends AsyncDisposable {
  predict(): StepPrediction;
  /** One optimizer step. Rejects with MillraceError naming the step when the loss is not a number. */
  step(batch: B): Promise<StepResult>;
  /** Writes a checkpoint into an empty or missing folder: complete and durable when it resolves, or not there. */
  save(dir: string): Promise<void>;
  /** Rejects with MillraceError when the folder holds no checkpoint of this model. */
  load(dir: string): Promise<void>;
}
