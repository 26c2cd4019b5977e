/** The executors of the step bench: the same rows on our graphs and on libllama, both off the event loop. */
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@millrace/core";
import { loadGgml, ThreadPool } from "@millrace/ggml";
import { type MadeType, makeModel, type PresetName } from "@millrace/ggml/gguf";
import { LlamaBatch, LlamaContext, LlamaModel } from "@millrace/ggml/llama";
import type { Executor } from "../packages/engine/src/contracts.ts";
import { batchOf, type Row } from "../packages/engine/src/reproduce/batches.ts";

export { type Row, randomTokens as tokens } from "../packages/engine/src/reproduce/batches.ts";

/** A made model in the temporary folder, kept between runs. */
export function benchModel(preset: PresetName, type: MadeType): string {
  const folder = join(tmpdir(), "millrace-bench");
  mkdirSync(folder, { recursive: true });
  const out = join(folder, `${preset}-${type}.gguf`);
  if (!existsSync(out)) makeModel({ preset, type, out });
  return out;
}

/** Something that computes a prepared batch over and over, from the same state of its cache. */
export interface Runner {
  prepare(rows: readonly Row[]): { run(): Promise<void>; undo(): void };
}

export function ours(executor: Executor): Runner {
  return {
    prepare(rows) {
      const batch = batchOf(rows);
      return { run: () => executor.compute(batch), undo: () => {} };
    },
  };
}

/** libllama over a context of its own. `unified`: one buffer for all sequences. */
export class LlamaRunner implements Runner, Disposable {
  readonly #pool: ThreadPool | null;
  readonly #model: LlamaModel;
  readonly #context: LlamaContext;

  constructor(path: string, threads: number, slots: number, slotTokens: number, unified: boolean) {
    this.#pool = threads > 1 ? new ThreadPool(loadGgml().library, threads, { poll: 0 }) : null;
    this.#model = new LlamaModel(path);
    this.#context = new LlamaContext(this.#model, {
      sequences: slots,
      sequenceTokens: slotTokens,
      batchTokens: 512,
      threads,
      unified,
      flashAttention: "on",
      ...(this.#pool === null ? {} : { threadPool: this.#pool }),
    });
  }

  prepare(rows: readonly Row[]): { run(): Promise<void>; undo(): void } {
    const batch = new LlamaBatch(rows.reduce((sum, row) => sum + row.tokens.length, 0));
    for (const { slot, start, tokens: ids } of rows)
      for (const [i, id] of ids.entries()) batch.add(id, start + i, slot, i === ids.length - 1);
    return {
      run: () => this.#context.decodeAsync(batch),
      undo: () => {
        for (const { slot, start } of rows) this.#context.truncate(slot, start);
      },
    };
  }

  [Symbol.dispose](): void {
    this.#context[Symbol.dispose]();
    this.#model[Symbol.dispose]();
    this.#pool?.[Symbol.dispose]();
  }
}

/** CPU milliseconds of one run. */
export async function cpuMsOf(step: { run(): Promise<void>; undo(): void }): Promise<number> {
  const before = process.cpuUsage();
  await step.run();
  const { user, system } = process.cpuUsage(before);
  step.undo();
  return (user + system) / 1e3;
}

/** Median of the ratios and the end of its one-sided 95 % interval, by 2,000 bootstrap samples. */
export function ratio(
  a: readonly number[],
  b: readonly number[],
): { median: number; upper: number } {
  const ratios = a.map((value, i) => value / (b[i] as number));
  const rng = new Rng("bootstrap");
  const middle = (values: number[]): number => {
    values.sort((x, y) => x - y);
    const half = values.length >> 1;
    return values.length % 2 === 1
      ? (values[half] as number)
      : ((values[half - 1] as number) + (values[half] as number)) / 2;
  };
  const medians = Array.from({ length: 2000 }, () =>
    middle(ratios.map(() => ratios[Math.floor(rng.next() * ratios.length)] as number)),
  ).sort((x, y) => x - y);
  return {
    median: middle([...ratios]),
    upper: medians[Math.floor(0.95 * medians.length)] as number,
  };
}
