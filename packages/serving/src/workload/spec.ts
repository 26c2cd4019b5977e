/** Workloads as plain data, the way a configuration file writes them. Seconds, tokens, requests per second. */

/** When requests arrive. Each is open loop: arrivals do not wait for answers. */
export type ArrivalSpec =
  | PoissonArrivals
  | GammaArrivals
  | StaticArrivals
  | DiurnalArrivals
  | TraceArrivals;

/** Poisson process: exponential gaps of mean 1 / qps, not clipped (Vidur clips at 3 / qps and so sends 5 % more). */
export interface PoissonArrivals {
  readonly type: "poisson";
  readonly qps: number;
}

/** Gamma gaps of mean 1 / qps; cv is their standard deviation over their mean: above 1 bursty, 1 Poisson, below 1 even. */
export interface GammaArrivals {
  readonly type: "gamma";
  readonly qps: number;
  readonly cv: number;
}

/** One request every 1 / qps seconds from 0 s on; without qps all at 0 s. */
export interface StaticArrivals {
  readonly type: "static";
  readonly qps?: number;
}

/**
 * Poisson process whose rate swings like a day: `qps` at the trough, `qps * peakFactor` half a period later,
 * qps * (1 + (peakFactor - 1) * (1 - cos(2 pi t / period)) / 2) in between; the mean is qps * (1 + peakFactor) / 2.
 */
export interface DiurnalArrivals {
  readonly type: "diurnal";
  readonly qps: number;
  /** >= 1. */
  readonly peakFactor: number;
  /** Seconds from trough to trough. */
  readonly period: number;
  /** Seconds after the trough at which the run starts; 0 by default. */
  readonly phase?: number;
}

/** The arrival times of a trace, unrounded and counted from the start of the window. */
export interface TraceArrivals {
  readonly type: "trace";
  /** Key into the traces given to `generateWorkload`; a file path in a configuration. */
  readonly path: string;
  /** Times are multiplied by it; 0.5 replays twice as fast. 1 by default. */
  readonly timeScale?: number;
  /** Window of the trace, seconds of the trace; all of it by default. */
  readonly from?: number;
  readonly to?: number;
}

/** How long prompts and outputs are. */
export type LengthSpec =
  | FixedLengths
  | UniformLengths
  | RangeLengths
  | ZipfLengths
  | ShapeLengths
  | TraceLengths;

export interface FixedLengths {
  readonly type: "fixed";
  readonly prompt: number;
  readonly output: number;
}

/** Prompt plus output uniform over min … max, split in the ratio promptToOutput : 1 (Vidur's and Etalon's form). */
export interface UniformLengths {
  readonly type: "uniform";
  readonly min: number;
  readonly max: number;
  readonly promptToOutput: number;
}

/** Prompt and output each uniform over a range of their own, independent. */
export interface RangeLengths {
  readonly type: "range";
  readonly prompt: { readonly min: number; readonly max: number };
  readonly output: { readonly min: number; readonly max: number };
}

/**
 * Prompt plus output Zipf over min … max: the k-th most frequent length has weight k^-theta. Short lengths are the
 * frequent ones, unless `scramble` deals the ranks out at random. Split as in `uniform`.
 */
export interface ZipfLengths {
  readonly type: "zipf";
  readonly min: number;
  readonly max: number;
  /** >= 0; 0 is uniform. */
  readonly theta: number;
  readonly promptToOutput: number;
  readonly scramble?: boolean;
}

/** Lengths like those of a measured workload: a built-in shape, or one that `fitShape` made. */
export interface ShapeLengths {
  readonly type: "shape";
  readonly name: string;
  /** Factors on the drawn lengths; 1 by default. */
  readonly promptScale?: number;
  readonly outputScale?: number;
}

/** The lengths of a trace, again from its start when it has fewer rows than needed. */
export interface TraceLengths {
  readonly type: "trace";
  readonly path: string;
  /** "file" keeps the rows in order, so that arrivals of the same trace meet their own lengths; "shuffled" (default) does not. */
  readonly order?: "file" | "shuffled";
  readonly promptScale?: number;
  readonly outputScale?: number;
}

/**
 * What happens to a request of more than `maxTokens` tokens. "proportional" (default) shortens prompt and output in
 * their ratio, "prompt" and "output" shorten that one first, "drop" draws again.
 */
export type ClipMode = "proportional" | "prompt" | "output" | "drop";

/** Traffic of one kind. */
export interface TrafficClassSpec {
  readonly name: string;
  /** Lower is more urgent; 0 by default. */
  readonly priority?: number;
  /** Part of the workload's common arrivals, relative to the other classes without arrivals of their own; 1 by default. */
  readonly share?: number;
  /** Arrivals of its own, merged with the others by time. */
  readonly arrivals?: ArrivalSpec;
  /** The workload's lengths by default. */
  readonly lengths?: LengthSpec;
}

/** A workload. It ends after `requests`, at `duration` seconds or with its traces, whichever is first. */
export interface WorkloadSpec {
  /** Not needed when every class has its own. */
  readonly arrivals?: ArrivalSpec;
  /** Not needed when every class has its own. */
  readonly lengths?: LengthSpec;
  readonly requests?: number;
  readonly duration?: number;
  /** Most tokens of a request, prompt and output together. */
  readonly maxTokens?: number;
  readonly clip?: ClipMode;
  /** One class named "default" when absent; at most 256. */
  readonly classes?: readonly TrafficClassSpec[];
}
