/** What a cold cache costs the jobs of a model. */
import type { JobState } from "../contracts.ts";

/** What is known of it; see JobState. */
export interface RefillTerms {
  /** Seconds that a cold epoch takes longer, at most. */
  readonly refillSeconds?: number;
  /** Bytes per second and GPU at which it fills its cache. */
  readonly refillBytesPerSecond?: number;
}

/** The terms of a job of the model; `otherwise` is its refillSeconds where the model does not know. */
export function refillOf(
  { refillSeconds, refillBytesPerSecond }: RefillTerms,
  gpus: number,
  otherwise: number,
): Pick<JobState, "refillSeconds" | "refillBytesPerSecond"> {
  return {
    refillSeconds: refillSeconds ?? otherwise,
    refillBytesPerSecond: refillBytesPerSecond === undefined ? null : gpus * refillBytesPerSecond,
  };
}
