/** Small models and batches for the tests of executors. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FamilyName, type MadeType, makeModel, type PresetName } from "@millrace/ggml/gguf";
import type { Executor, ExecutorBatch } from "../../contracts.ts";
import { testMemory } from "./memory/test-memory.conformance.ts";
import { type GgmlComputeOptions, type GgmlKvOptions, openGgmlExecutor } from "./open-executor.ts";

/** A row of a batch as tests write it. */
export interface Row {
  readonly slot: number;
  readonly start: number;
  readonly tokens: readonly number[];
  /** Default true. */
  readonly logits?: boolean;
}

/** A folder of made models, each written once. */
export class SmallModels implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "millrace-models-"));
  readonly #made = new Map<string, string>();

  path(architecture: FamilyName, type: MadeType, preset: PresetName = "tiny"): string {
    const name = `${architecture}-${type}-${preset}.gguf`;
    let out = this.#made.get(name);
    if (out === undefined) {
      out = join(this.folder, name);
      makeModel({ preset, architecture, type, out });
      this.#made.set(name, out);
    }
    return out;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** An executor over test memory: one thread, 8 slots of 1024 tokens. */
export function openSmall(
  modelPath: string,
  options: Partial<GgmlComputeOptions> = {},
  kv: GgmlKvOptions = { memory: (geometry) => testMemory(geometry) },
): Promise<Executor> {
  const small = { modelPath, threads: 1, slots: 8, slotTokens: 1024 };
  return openGgmlExecutor({ ...small, ...options, ...kv });
}

export function batchOf(rows: readonly Row[]): ExecutorBatch {
  const offset = new Int32Array(rows.length);
  for (let i = 1; i < rows.length; i++)
    offset[i] = (offset[i - 1] as number) + (rows[i - 1] as Row).tokens.length;
  const tokens = Int32Array.from(rows.flatMap((row) => row.tokens));
  return {
    rows: rows.length,
    slot: Int32Array.from(rows, (row) => row.slot),
    start: Int32Array.from(rows, (row) => row.start),
    count: Int32Array.from(rows, (row) => row.tokens.length),
    offset,
    tokens,
    total: tokens.length,
    wantsLogits: Uint8Array.from(rows, (row) => (row.logits === false ? 0 : 1)),
  };
}

/** Computes rows; the logits of those that want them, copied, in order. */
export async function step(
  executor: Executor,
  rows: readonly Row[],
): Promise<readonly Float32Array[]> {
  await executor.compute(batchOf(rows));
  return rows.flatMap((row, i) => (row.logits === false ? [] : [executor.logits(i).slice()]));
}

/** Ordinary tokens, the same for the same seed. */
export function someTokens(count: number, seed: number): number[] {
  let state = (seed * 7919 + 1) >>> 0;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return 3 + ((state >>> 8) % 500);
  });
}

export function greatestDifference(a: Float32Array, b: Float32Array): number {
  let most = 0;
  for (let i = 0; i < a.length; i++)
    most = Math.max(most, Math.abs((a[i] as number) - (b[i] as number)));
  return most;
}

export function greedy(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++)
    if ((logits[i] as number) > (logits[best] as number)) best = i;
  return best;
}
