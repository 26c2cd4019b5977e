import { describe, expect, it } from "vitest";
import { drive, paged } from "../join/drive.conformance.ts";

describe("vllm-v1", () => {
  it("shares one token budget between decodes, chunks and new prompts", () => {
    // Budget 8. A takes 5 of it and B the first 3 of its prompt; then the decode of A (1), the rest of B (3) and C (2).
    const lines = drive(
      { scheduler: "vllm-v1", options: { chunkSize: 8, batchSizeCap: 3 } },
      { A: [0, 5, 3], B: [0, 6, 2], C: [0.5, 2, 2] },
    );
    expect(lines).toEqual(["0: A 0+5, B 0+3", "1: A 5+1, B 3+3, C 0+2", "2: A 6+1, B 6+1, C 2+1"]);
  });

  it("admits at most batchSizeCap sequences", () => {
    const lines = drive(
      { scheduler: "vllm-v1", options: { batchSizeCap: 1 } },
      { A: [0, 2, 2], B: [0, 2, 1] },
    );
    expect(lines).toEqual(["0: A 0+2", "1: A 2+1", "2: B 0+2"]);
  });

  it("preempts the last when the cache is full, and admits nobody in that step", () => {
    // 4 blocks of 2: A and B hold 2 each. At 2 s A needs a third: B loses its cache and all its 5 known tokens are
    // computed again, in one go, when 3 blocks are free.
    const lines = drive(
      { scheduler: "vllm-v1", kv: paged(4, 2) },
      { A: [0, 3, 4], B: [0, 3, 3], C: [1.5, 1, 1] },
    );
    expect(lines).toEqual([
      "0: A 0+3, B 0+3",
      "1: A 3+1, B 3+1",
      "2: A 4+1, -B",
      "3: A 5+1",
      "4: B 0+5, C 0+1",
    ]);
  });

  it("reserves the cache chunk by chunk, and a chunk that finds no room preempts", () => {
    // 5 blocks of 2, budget 4. B is admitted for its first 2 tokens, although its prompt of 8 does not fit beside A. At 2 s
    // its chunk finds no block: B is last, so it loses what it has, and starts over. At 4 s that happens once more.
    const lines = drive(
      { scheduler: "vllm-v1", options: { chunkSize: 4 }, kv: paged(5, 2) },
      { A: [0, 2, 5], B: [0, 8, 1] },
    );
    expect(lines).toEqual([
      "0: A 0+2, B 0+2",
      "1: A 2+1, B 2+3",
      "2: A 3+1, -B",
      "3: A 4+1, B 0+3",
      "4: A 5+1, -B",
      "5: B 0+4",
      "6: B 4+4",
    ]);
  });
});

describe("vllm-v0", () => {
  it("runs prompts alone, padded to the longest, while decodes stall", () => {
    // Bound 12: A and B cost 2 x 6; C would make it 3 x 6. C and D each stall the decodes for a step.
    const lines = drive(
      { scheduler: "vllm-v0", options: { maxTokensInBatch: 12, batchSizeCap: 4 } },
      { A: [0, 5, 3], B: [0, 6, 2], C: [0, 2, 2], D: [1.5, 3, 1] },
    );
    expect(lines).toEqual([
      "0: A 0+5, B 0+6",
      "1: C 0+2",
      "2: D 0+3",
      "3: A 5+1, B 6+1, C 2+1",
      "4: A 6+1",
    ]);
  });

  const tight = { A: [0, 3, 5], B: [0, 4, 4], C: [0, 3, 1] } as const;

  it("keeps the watermark free at admission and preempts the last arrival", () => {
    // 6 blocks of 2, one kept free: C does not get in beside A and B. At 3 s B needs a fourth block, none is free, and B
    // is itself the last. It goes before C, and at 5 s its 4 blocks leave one beyond the watermark, too few for C.
    const lines = drive(
      { scheduler: "vllm-v0", options: { maxTokensInBatch: 20 }, kv: paged(6, 2, 0.2) },
      tight,
    );
    expect(lines).toEqual([
      "0: A 0+3, B 0+4",
      "1: A 3+1, B 4+1",
      "2: A 4+1, B 5+1",
      "3: A 5+1, -B",
      "4: A 6+1",
      "5: B 0+7",
      "6: C 0+3",
    ]);
  });

  it("as Vidur: a running sequence needs a free block even when its last one has room", () => {
    // As above, but at 2 s A takes the last block, so B, which would not need one, is preempted already then.
    const lines = drive(
      {
        scheduler: "vllm-v0",
        options: { maxTokensInBatch: 20 },
        kv: paged(6, 2, 0.2, true),
        vidur: true,
      },
      tight,
    );
    expect(lines).toEqual([
      "0: A 0+3, B 0+4",
      "1: A 3+1, B 4+1",
      "2: A 4+1, -B",
      "3: A 5+1",
      "4: A 6+1",
      "5: B 0+6, C 0+3",
      "6: B 6+1",
    ]);
  });

  it.each([false, true])("runs a prompt beyond the bound alone (vidur: %s)", (vidur) => {
    const lines = drive(
      { scheduler: "vllm-v0", options: { maxTokensInBatch: 4 }, vidur },
      { A: [0, 2, 2], B: [0, 6, 1] },
    );
    // Vidur's rules let it wait until nothing else runs; where Vidur would then stand still, it runs.
    expect(lines).toEqual(
      vidur ? ["0: A 0+2", "1: A 2+1", "2: B 0+6"] : ["0: A 0+2", "1: B 0+6", "2: A 2+1"],
    );
  });
});
