/** What the experiments on the engine share: a made model, progress, and rows of results. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ReproduceOptions, type ReproduceRow, spread } from "@millrace/core";
import { type MadeType, makeModel, type PresetName } from "@millrace/ggml/gguf";

/** How large an experiment is. */
export interface Scale {
  readonly preset: PresetName;
  /** Parameters of the preset, for notes. */
  readonly title: string;
  readonly format: MadeType;
  /** Interleaved repeats of each measurement. */
  readonly rounds: number;
}

export function scaleOf(quick: boolean): Scale {
  return quick
    ? { preset: "small", title: "made Llama of 21 M parameters", format: "q8_0", rounds: 5 }
    : { preset: "medium", title: "made Llama of 88 M parameters", format: "q8_0", rounds: 15 };
}

/** Rows with what they have in common, and a check between steps. */
export class Experiment {
  readonly rows: ReproduceRow[] = [];
  readonly scale: Scale;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly modelPath: string;
  readonly #options: ReproduceOptions;
  readonly #steps: number;
  #done = 0;

  constructor(options: ReproduceOptions, scale: Scale, steps: number, modelPath: string) {
    this.#options = options;
    this.scale = scale;
    this.seed = options.seed;
    this.signal = options.signal ?? new AbortController().signal;
    this.#steps = steps;
    this.modelPath = modelPath;
  }

  /** A step ends. Throws when the run is to end. */
  step(what: string): void {
    this.signal.throwIfAborted();
    this.#done = Math.min(this.#steps, this.#done + 1);
    this.#options.onProgress?.(this.#done, this.#steps, what);
  }

  /** A row of a figure with several measurements; `n` is their number. */
  add(
    claim: string,
    values: readonly number[],
    unit: string,
    note: string,
    theirs: number | null = null,
  ): void {
    const { seed } = this;
    const kind = "measured" as const;
    this.rows.push({ claim, theirs, ...spread(values), unit, kind, n: values.length, seed, note });
  }
}

/** Makes the model, runs `body`, and leaves no file behind. `steps`: how often the body calls `step`. */
export async function withExperiment(
  options: ReproduceOptions,
  steps: number,
  body: (experiment: Experiment) => Promise<void>,
): Promise<readonly ReproduceRow[]> {
  const scale = scaleOf(options.quick);
  const folder = mkdtempSync(join(tmpdir(), "millrace-reproduce-"));
  try {
    const out = join(folder, "model.gguf");
    makeModel({ preset: scale.preset, type: scale.format, out, seed: options.seed });
    const experiment = new Experiment(options, scale, steps, out);
    await body(experiment);
    return experiment.rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Element by element. */
export function ratios(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value / (b[i] as number));
}
