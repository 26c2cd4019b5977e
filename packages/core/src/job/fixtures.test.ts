import { expect, test } from "vitest";
import { batchSourceConformance } from "./batch-source.conformance.ts";
import { type CheckpointStore, LineFit, LinePointSource } from "./fixtures.ts";
import { StandAloneLease } from "./lease.ts";
import { trainableConformance } from "./trainable.conformance.ts";

batchSourceConformance("LinePointSource", {
  make: (seed) => new LinePointSource(50, 8, seed),
  length: 50,
  print: ({ x, y }) => `${x.join()} ${y.join()}`,
  items: ({ x }) => Array.from(x, (value) => Math.round(((value + 1) * 50) / 2)),
});

const store: CheckpointStore = new Map();
trainableConformance("LineFit", {
  make: () => new LineFit(store),
  batch: async (i) => {
    const source = new LinePointSource(64, 16, i);
    const loan = await source.next();
    if (loan === null) throw new Error("a fresh source has a batch");
    return loan.batch;
  },
  dir: (name) => name,
});

test("the fixtures train together under a lease", async () => {
  await using source = new LinePointSource(256, 32, 1);
  await using model = new LineFit(new Map());
  const lease = new StandAloneLease({ cpus: 1, hostBytes: 0, cacheBytes: 0, gpus: [] });
  const losses: number[] = [];
  for (let ends = 0; ends < 8; ) {
    const loan = await source.next(lease.stop);
    if (loan === null) {
      ends++;
      continue;
    }
    const { loss, seconds } = await model.step(loan.batch);
    loan.release();
    losses.push(loss);
    lease.report(losses.length, seconds, 0, loan.samples);
  }
  expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) / 100);
  expect(lease.totals()).toMatchObject({ step: 64, samples: 2048 });
  lease.requestStop("enough");
  await expect(source.next(lease.stop)).rejects.toBe("enough");
});

test("a loss that is not a number names its step", async () => {
  await using model = new LineFit(new Map());
  await model.step({ x: Float64Array.of(1), y: Float64Array.of(1) });
  await expect(
    model.step({ x: Float64Array.of(Number.NaN), y: Float64Array.of(1) }),
  ).rejects.toMatchObject({ code: "LOSS_NOT_FINITE", message: expect.stringContaining("step 2") });
});
