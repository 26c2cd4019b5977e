/** Runs that are kept in a file, a JSON object a line: what an interrupted study has done already is not done again. */
import { appendFileSync, existsSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { contentHash, MillraceError } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import { type ComparedRun, runOnce } from "../compare/one-run.ts";
import type { Dataset } from "../data/dataset.ts";
import type { TrainOptions } from "../train/options.ts";

export interface LoggedRun extends ComparedRun {
  /** Hash of settings, seed and data. */
  readonly key: string;
  readonly arm: string;
  /** Points held out and measured on; 0: the test points. */
  readonly heldOut: number;
  readonly options: TrainOptions;
}

export class RunLog {
  readonly #dataset: Dataset;
  readonly #file: string | null;
  readonly #done = new Map<string, LoggedRun>();

  /** Reads `file` where it exists; null keeps runs in memory alone. Throws DATASET_INVALID for a line that is no run. */
  constructor(dataset: Dataset, file: string | null) {
    this.#dataset = dataset;
    this.#file = file;
    if (file === null || !existsSync(file)) return;
    readTextFile(file)
      .split("\n")
      .forEach((line, i) => {
        if (line === "") return;
        try {
          const run = JSON.parse(line) as LoggedRun;
          this.#done.set(run.key, run);
        } catch (cause) {
          throw new MillraceError("DATASET_INVALID", `${file}:${i + 1} is not a run`, {
            hint: "a line that an interruption cut off may be deleted",
            cause,
          });
        }
      });
  }

  #key(options: TrainOptions, heldOut: number): string {
    const { features, labels } = this.#dataset.train;
    const shape = [features.rows, features.cols, features.indices.length, labels.indices.length];
    return contentHash({ options, heldOut, shape });
  }

  /** The run with these settings, where it was done already; null otherwise. */
  kept(arm: string, options: TrainOptions, heldOut: number): LoggedRun | null {
    const known = this.#done.get(this.#key(options, heldOut));
    return known === undefined ? null : { ...known, arm };
  }

  /**
   * The run with these settings, from the file or done now; one that was broken off goes on from its last epoch, whose snapshot
   * lies beside the file until the run is done. Rejects with the signal's reason.
   */
  async run(
    arm: string,
    options: TrainOptions,
    heldOut: number,
    signal?: AbortSignal,
  ): Promise<LoggedRun> {
    const known = this.kept(arm, options, heldOut);
    if (known !== null) return known;
    const key = this.#key(options, heldOut);
    const run = { key, arm, heldOut, options };
    const partial = this.#file === null ? null : join(dirname(this.#file), "partial", key);
    const done = { ...run, ...(await runOnce(this.#dataset, options, heldOut, signal, partial)) };
    this.#done.set(key, done);
    if (this.#file !== null) appendFileSync(this.#file, `${JSON.stringify(done)}\n`);
    if (partial !== null) rmSync(partial, { recursive: true, force: true });
    return done;
  }
}
