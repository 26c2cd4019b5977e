import { describe, expect, it } from "vitest";
import { drive, paged } from "../join/drive.conformance.ts";
import { StaticKv } from "../kv/static.ts";

describe("sarathi", () => {
  it("has exactly one chunk a batch, trimmed so that chunk plus decodes is a multiple of the tile", () => {
    // At 1 s A has 2 tokens left and B may not share the batch; at 2 s the chunk beside one decode is 7, B needs 5.
    const lines = drive(
      { scheduler: "sarathi", options: { chunkSize: 8, tile: 4 } },
      { A: [0, 10, 4], B: [0, 5, 2], C: [0, 9, 1] },
    );
    expect(lines).toEqual([
      "0: A 0+8",
      "1: A 8+2",
      "2: A 10+1, B 0+5",
      "3: A 11+1, B 5+1, C 0+6",
      "4: A 12+1, C 6+3",
    ]);
  });

  it("goes on with a chunk when decodes alone exceed the chunk size", () => {
    // Two decodes, chunk size 2, tile 2: the next multiple of 2 beyond 2 decodes is 4.
    const lines = drive(
      { scheduler: "sarathi", options: { chunkSize: 2, tile: 2 } },
      { A: [0, 2, 4], B: [0, 1, 3], C: [0, 2, 1] },
    );
    expect(lines).toEqual([
      "0: A 0+2",
      "1: A 2+1, B 0+1",
      "2: A 3+1, B 1+1, C 0+2",
      "3: A 4+1, B 2+1",
    ]);
  });
});

describe("simple-chunking", () => {
  it("lets chunks and decodes take turns", () => {
    // A turn that has nothing to do is skipped: at 1 s there are no decodes. A chunk turn goes on with the partly
    // prefilled or, when there are none, begins new prompts.
    const lines = drive(
      { scheduler: "simple-chunking", options: { chunkSize: 4 } },
      { A: [0, 6, 3], B: [0, 3, 2], C: [0, 2, 1] },
    );
    expect(lines).toEqual([
      "0: A 0+4",
      "1: A 4+2",
      "2: A 6+1",
      "3: B 0+3, C 0+1",
      "4: A 7+1, B 3+1",
      "5: C 1+1",
    ]);
  });

  it("preempts the last arrival, also when that is partly prefilled", () => {
    // 5 blocks of 2, chunk size 2. At 5 s A needs its third block while C holds 2 for a prompt it has computed 3 tokens of.
    const lines = drive(
      { scheduler: "simple-chunking", options: { chunkSize: 2 }, kv: paged(5, 2) },
      { A: [0, 2, 5], B: [0, 1, 4], C: [0.5, 4, 1] },
    );
    expect(lines).toEqual([
      "0: A 0+2",
      "1: A 2+1",
      "2: B 0+1, C 0+1",
      "3: A 3+1, B 1+1",
      "4: C 1+2",
      "5: A 4+1, B 2+1, -C",
      "6: A 5+1, B 3+1",
      "7: C 0+2",
      "8: C 2+2",
    ]);
  });
});

const slots =
  (n: number, slotTokens: number) => (table: ConstructorParameters<typeof StaticKv>[0]) =>
    new StaticKv(table, { slots: n, slotTokens });

describe("orca", () => {
  it("lets whole prompts join the decodes as slots become free", () => {
    const lines = drive(
      { scheduler: "orca", kv: slots(2, 8) },
      { A: [0, 5, 3], B: [0, 6, 2], C: [0, 2, 2] },
    );
    expect(lines).toEqual(["0: A 0+5, B 0+6", "1: A 5+1, B 6+1", "2: A 6+1, C 0+2", "3: C 2+1"]);
  });

  it("refuses what no slot could ever hold", () => {
    // 8 tokens of KV carry a prompt of 6 and 3 output tokens: the last one needs none.
    const lines = drive({ scheduler: "orca", kv: slots(2, 8) }, { A: [0, 6, 4], B: [0, 6, 3] });
    expect(lines).toEqual(["0: A is too-long", "0: B 0+6", "1: B 6+1", "2: B 7+1"]);
  });
});

describe("faster-transformer", () => {
  it("lets nobody join a batch before it has ended", () => {
    const lines = drive(
      { scheduler: "faster-transformer", kv: slots(2, 8) },
      { A: [0, 5, 3], B: [0, 6, 2], C: [0, 2, 2] },
    );
    expect(lines).toEqual([
      "0: A 0+5, B 0+6",
      "1: A 5+1, B 6+1",
      "2: A 6+1",
      "3: C 0+2",
      "4: C 2+1",
    ]);
  });

  it("keeps as many batches apart as are in flight", () => {
    // Two batches of one row each share the device; C's batch begins when B's has ended.
    const lines = drive(
      { scheduler: "faster-transformer", options: { batchSizeCap: 1 }, kv: slots(3, 8), depth: 2 },
      { A: [0, 5, 3], B: [0, 6, 2], C: [0, 2, 2] },
    );
    expect(lines).toEqual([
      "0: A 0+5",
      "0: B 0+6",
      "1: A 5+1",
      "2: B 6+1",
      "3: A 6+1",
      "4: C 0+2",
      "6: C 2+1",
    ]);
  });
});

describe("lightllm", () => {
  const script = { A: [0, 4, 4], B: [0, 6, 3], C: [0, 3, 2] } as const;

  it("admits in batches of their own, after a number of decode iterations", () => {
    // Prompt tokens 4 + 6 leave no room for 3 of 12. Peak: A and B hold 5 + 7 after their prefill and the longer of
    // the two goes on for 2: max(5 + 2, 12 + 2 x 1) = 14 < 20. After 2 decode steps C is asked: 7 + 4 < 20.
    const lines = drive(
      {
        scheduler: "lightllm",
        options: { maxTokensInBatch: 12, maxWaitingIters: 2 },
        kv: paged(20, 1),
      },
      script,
    );
    expect(lines).toEqual([
      "0: A 0+4, B 0+6",
      "1: A 4+1, B 6+1",
      "2: A 5+1, B 7+1",
      "3: C 0+3",
      "4: A 6+1, C 3+1",
    ]);
  });

  it("waits when the peak of all tokens would not fit", () => {
    // 12 tokens: 14 is too much, so A begins alone. After 2 iterations B is refused again: A holds 7 and needs no more, B
    // would hold 7. When A has ended, B and C peak at max(7 + 1, 7 + 4) = 11 < 12.
    const lines = drive(
      {
        scheduler: "lightllm",
        options: { maxTokensInBatch: 12, maxWaitingIters: 2 },
        kv: paged(12, 1),
      },
      script,
    );
    expect(lines).toEqual([
      "0: A 0+4",
      "1: A 4+1",
      "2: A 5+1",
      "3: A 6+1",
      "4: B 0+6, C 0+3",
      "5: B 6+1, C 3+1",
      "6: B 7+1",
    ]);
  });

  it("goes on after a preemption when estimates were too low", () => {
    // 8 tokens, estimates of one new token: both are admitted. At 3 s A needs a ninth; B, the last, is computed again
    // when A has ended: the 5 tokens known by then in one go.
    const lines = drive(
      { scheduler: "lightllm", options: { maxWaitingIters: 2 }, kv: paged(8, 1), estimate: 1 },
      { A: [0, 2, 5], B: [0, 2, 5] },
    );
    expect(lines).toEqual([
      "0: A 0+2, B 0+2",
      "1: A 2+1, B 2+1",
      "2: A 3+1, B 3+1",
      "3: A 4+1, -B",
      "4: A 5+1",
      "5: B 0+5",
      "6: B 5+1",
    ]);
  });
});
