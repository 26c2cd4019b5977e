/** Batches of random tokens for experiments that drive an executor by hand. */
import { Rng } from "@millrace/core";
import type { Executor, ExecutorBatch } from "../contracts.ts";

/** A row of a batch: tokens at a position of a slot. */
export interface Row {
  readonly slot: number;
  readonly start: number;
  readonly tokens: readonly number[];
}

/** Ordinary token ids below `vocabulary`, the same for the same seed. */
export function randomTokens(count: number, seed: number | string, vocabulary: number): number[] {
  const rng = new Rng(`tokens/${seed}`);
  return Array.from({ length: count }, () => 3 + Math.floor(rng.next() * (vocabulary - 3)));
}

/** The rows as a batch that wants the logits of each. */
export function batchOf(rows: readonly Row[]): ExecutorBatch {
  let offset = 0;
  const offsets = rows.map(({ tokens: { length } }) => {
    offset += length;
    return offset - length;
  });
  return {
    rows: rows.length,
    slot: Int32Array.from(rows, ({ slot }) => slot),
    start: Int32Array.from(rows, ({ start }) => start),
    count: Int32Array.from(rows, (row) => row.tokens.length),
    offset: Int32Array.from(offsets),
    tokens: Int32Array.from(rows.flatMap((row) => row.tokens)),
    total: offset,
    wantsLogits: new Uint8Array(rows.length).fill(1),
  };
}

/** CPU milliseconds (user + system, all threads) of a batch. Computing it again computes the same. */
export async function cpuMsOf(executor: Executor, batch: ExecutorBatch): Promise<number> {
  const before = process.cpuUsage();
  await executor.compute(batch);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e3;
}

/** A batch on an executor, to be compared with others. */
export interface Contender {
  readonly executor: Executor;
  readonly batch: ExecutorBatch;
}

/**
 * CPU milliseconds of each contender in `rounds` interleaved rounds after one that warms up: `times[contender][round]`. Every
 * second round goes the other way around, so that what the machine does meanwhile falls on all alike.
 */
export async function interleaved(
  contenders: readonly Contender[],
  rounds: number,
  ended: () => void = () => {},
): Promise<readonly (readonly number[])[]> {
  const times = contenders.map((): number[] => []);
  for (let round = -1; round < rounds; round++) {
    const order = contenders.map((_, i) => (round % 2 === 0 ? i : contenders.length - 1 - i));
    for (const i of order) {
      const { executor, batch } = contenders[i] as Contender;
      const ms = await cpuMsOf(executor, batch);
      if (round >= 0) (times[i] as number[]).push(ms);
    }
    ended();
  }
  return times;
}
