/** SARATHI (arXiv 2308.16369) on the engine: what a chunk carries along, and what chunks cost. */
import type { ReproduceOptions, ReproduceRow } from "@millrace/core";
import { openGgmlExecutor } from "../executor/ggml/index.ts";
import { createKvMemory } from "../kv-memory/index.ts";
import { batchOf, interleaved, type Row, randomTokens } from "./batches.ts";
import { type Experiment, ratios, withExperiment } from "./experiment.ts";

/** Tokens that decode rows stand at, and that the tile experiment computes behind. */
const context = 512;
const decodes = 4;
const chunks = [32, 64, 128, 256, 512] as const;

/** Measured rows of the paper. Rejects with MillraceError, or with the signal's reason. */
export function measureSarathi(options: ReproduceOptions): Promise<readonly ReproduceRow[]> {
  return withExperiment(options, 4, run);
}

async function run(x: Experiment): Promise<void> {
  using executor = await openGgmlExecutor({
    modelPath: x.modelPath,
    threads: 1,
    slots: decodes + 1,
    slotTokens: 2048,
    memory: (geometry) =>
      createKvMemory(geometry, {
        backend: "plain",
        pageBytes: 4096,
        layout: "per-layer",
        groups: 0,
      }),
  });
  const { vocabularySize } = executor.card;
  const tokens = (n: number, seed: number) => randomTokens(n, `${x.seed}/${seed}`, vocabularySize);
  for (let slot = 0; slot <= decodes; slot++)
    await executor.compute(batchOf([{ slot, start: 0, tokens: tokens(2 * context, slot) }]));
  x.step("prompts are there");

  const decodeRows: Row[] = Array.from({ length: decodes }, (_, slot) => ({
    slot,
    start: context,
    tokens: tokens(1, 100 + slot),
  }));
  const prefill = (n: number, start = 0): Row => ({
    slot: decodes,
    start,
    tokens: tokens(n, 200 + n),
  });
  const of = (rows: readonly Row[]) => ({ executor, batch: batchOf(rows) });

  const [alone = [], chunk = [], hybrid = []] = await interleaved(
    [of(decodeRows), of([prefill(256)]), of([prefill(256), ...decodeRows])],
    x.scale.rounds,
  );
  x.step("decodes with a chunk");
  const carried = hybrid.map((ms, i) => (ms - (chunk[i] as number)) / decodes);
  const what = `CPU time on one thread, ${x.scale.title}, ${x.scale.format}, decodes at context ${context}`;
  x.add(
    "decode-only batch of 4, CPU of a token",
    alone.map((ms) => ms / decodes),
    "ms",
    what,
  );
  x.add("the same 4 decodes carried by a chunk of 256, CPU of a token", carried, "ms", what);
  const median = (values: readonly number[]): number =>
    [...values].sort((a, b) => a - b)[values.length >> 1] as number;
  x.add(
    "decode time per token, decode-only batch of 4 / piggybacked on a chunk of 256",
    [median(alone) / decodes / median(carried)],
    "x",
    "of the medians above: the difference of two long times has a wide spread. On a CPU the chunk computes as fast as its arithmetic allows and leaves nothing idle that decodes could use; they save only the second pass over the weights. The paper's A6000 waits for memory in decode-only batches",
    10.4,
  );

  const sizes = await interleaved(
    chunks.map((n) => of([prefill(n)])),
    x.scale.rounds,
  );
  x.step("chunk sizes");
  const rate = (i: number): number[] =>
    (sizes[i] ?? []).map((ms) => (1000 * (chunks[i] as number)) / ms);
  const whole = rate(chunks.length - 1);
  chunks.forEach((n, i) => {
    const note = `${x.scale.title}, prompt from position 0. The paper's GPUs need 256 to 512 tokens to saturate, a CPU far fewer`;
    if (n < 512)
      x.add(`prefill throughput, chunks of ${n} / of 512`, ratios(rate(i), whole), "x", note);
    else x.add("prefill throughput, chunks of 512", whole, "tokens/s", note);
  });

  const tile = executor.tileTokens;
  const [below = [], full = []] = await interleaved(
    [of([prefill(tile - 4, context)]), of([prefill(tile, context)])],
    x.scale.rounds,
  );
  x.step("tiles");
  x.add(
    `CPU of a token, chunk of ${tile - 4} / chunk of ${tile}, at context ${context}`,
    ratios(
      below.map((ms) => ms / (tile - 4)),
      full.map((ms) => ms / tile),
    ),
    "x",
    `tile quantisation (section 4.4): the attention kernel has a fast way from ${tile} queries on. The paper's GPU tiles waste what a chunk leaves empty of its last tile`,
  );
}
