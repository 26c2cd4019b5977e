/** What every BatchSource must do; call it from the test file of an implementation. */
import { describe, expect, test } from "vitest";
import type { BatchSource } from "./batch-source.ts";

/** How the suite makes and reads an implementation's batches. */
export interface BatchSourceSubject<B> {
  /** A source of `length` samples with the given seed, at the start of epoch 0. */
  make(seed: number): BatchSource<B> | Promise<BatchSource<B>>;
  /** Samples of an epoch. */
  readonly length: number;
  /** The batch as text: equal content gives equal text. */
  print(batch: B): string;
  /** The samples' identities (data set indices) in the batch, when the batch tells them. */
  items?(batch: B): readonly number[];
}

async function take<B>(
  source: BatchSource<B>,
  epochs: number,
  print: (batch: B) => string,
): Promise<string[]> {
  const seen: string[] = [];
  for (let epoch = 0; epoch < epochs; ) {
    const loan = await source.next();
    if (loan === null) {
      seen.push("end");
      epoch++;
      continue;
    }
    seen.push(print(loan.batch));
    loan.release();
  }
  return seen;
}

/** Registers the suite. */
export function batchSourceConformance<B>(name: string, subject: BatchSourceSubject<B>): void {
  describe(`${name} is a BatchSource`, () => {
    test("an epoch has every sample once, then null; the next epoch has another order", async () => {
      await using source = await subject.make(1);
      const epochs: string[][] = [[], []];
      for (const seen of epochs) {
        let samples = 0;
        const items: number[] = [];
        for (let loan = await source.next(); loan !== null; loan = await source.next()) {
          expect(loan.samples).toBeGreaterThanOrEqual(1);
          samples += loan.samples;
          seen.push(subject.print(loan.batch));
          items.push(...(subject.items?.(loan.batch) ?? []));
          loan.release();
        }
        expect(samples).toBe(subject.length);
        if (subject.items !== undefined)
          expect([...items].sort((a, b) => a - b)).toEqual(
            Array.from({ length: subject.length }, (_, i) => i),
          );
      }
      expect(epochs[0]).not.toEqual(epochs[1]);
      expect(source.stalls().samples).toBe(2 * subject.length);
    });

    test("equal seeds give equal batches, another seed others", async () => {
      await using first = await subject.make(7);
      await using again = await subject.make(7);
      await using other = await subject.make(8);
      const batches = await take(first, 2, subject.print);
      expect(await take(again, 2, subject.print)).toEqual(batches);
      expect(await take(other, 2, subject.print)).not.toEqual(batches);
    });

    test("a source sought to any state goes on exactly", async () => {
      await using source = await subject.make(3);
      const states = [source.state()];
      const batches: string[] = [];
      for (let ends = 0; ends < 2; ) {
        const loan = await source.next();
        batches.push(loan === null ? "end" : subject.print(loan.batch));
        if (loan === null) ends++;
        loan?.release();
        states.push(source.state());
      }
      for (const at of [0, 1, Math.floor(states.length / 2), states.length - 2]) {
        await using resumed = await subject.make(99);
        const state = states[at];
        if (state === undefined) continue;
        resumed.seek(state);
        expect(resumed.state()).toEqual(state);
        const loan = await resumed.next();
        expect(loan === null ? "end" : subject.print(loan.batch)).toBe(batches[at]);
        loan?.release();
      }
    });

    test("an aborted call loses no batch", async () => {
      await using source = await subject.make(5);
      await using same = await subject.make(5);
      await expect(source.next(AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
      const a = await source.next();
      const b = await same.next();
      expect(a && subject.print(a.batch)).toBe(b && subject.print(b.batch));
      a?.release();
      b?.release();
    });
  });
}
