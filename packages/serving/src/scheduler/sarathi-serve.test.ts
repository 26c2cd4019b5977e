import { describe, expect, it } from "vitest";
import { drive, paged } from "../join/drive.conformance.ts";

describe("sarathi-serve", () => {
  it("takes all decodes, then chunks of the partly prefilled, then new prompts, within one budget", () => {
    const lines = drive(
      { scheduler: "sarathi-serve", options: { chunkSize: 6 } },
      { A: [0, 4, 3], B: [0, 10, 2], C: [2.5, 3, 2] },
    );
    expect(lines).toEqual([
      "0: A 0+4, B 0+2",
      "1: A 4+1, B 2+5",
      "2: A 5+1, B 7+3",
      "3: B 10+1, C 0+3",
      "4: C 3+1",
    ]);
  });

  const tight = { A: [0, 4, 6], B: [0, 8, 2] } as const;

  it("a sequence preempted in its prefill keeps its whole prompt", () => {
    // 7 blocks of 2, budget 3. B reserves 4 blocks for its prompt; at 4 s A needs a fourth and B, 6 tokens in, gives way.
    const lines = drive(
      { scheduler: "sarathi-serve", options: { chunkSize: 3 }, kv: paged(7, 2) },
      tight,
    );
    expect(lines).toEqual([
      "0: A 0+3",
      "1: A 3+1, B 0+2",
      "2: A 4+1, B 2+2",
      "3: A 5+1, B 4+2",
      "4: A 6+1, -B",
      "5: A 7+1",
      "6: A 8+1",
      "7: B 0+3",
      "8: B 3+3",
      "9: B 6+2",
      "10: B 8+1",
    ]);
  });

  it("as Vidur: it forgets what it had not computed, and generates that instead", () => {
    // At 3 s A needs a free block to go on and B, 4 tokens in, gives way; its prompt is 4 now, which fits at once. At 6 s
    // it gives way again with 6 known tokens. Its 10 tokens in all are reached with 6 generated ones instead of 2.
    const lines = drive(
      {
        scheduler: "sarathi-serve",
        options: { chunkSize: 3 },
        kv: paged(7, 2, 0, true),
        vidur: true,
      },
      tight,
    );
    expect(lines).toEqual([
      "0: A 0+3",
      "1: A 3+1, B 0+2",
      "2: A 4+1, B 2+2",
      "3: A 5+1, B 0+2, -B",
      "4: A 6+1, B 2+2",
      "5: A 7+1, B 4+1",
      "6: A 8+1, -B",
      "7: B 0+3",
      "8: B 3+3",
      "9: B 6+1",
      "10: B 7+1",
      "11: B 8+1",
    ]);
  });

  it("gives way in order of arrival although a partial prefill was passed over", () => {
    // Budget 2 is used up by the decodes of A and B at 2 s, so that C waits with 1 token done; at 3 s A needs a block
    // and C, the last to arrive, gives way, not B.
    const lines = drive(
      { scheduler: "sarathi-serve", options: { chunkSize: 2 }, kv: paged(6, 2) },
      { A: [0, 1, 5], B: [0, 1, 5], C: [0.5, 4, 1] },
    );
    expect(lines).toEqual([
      "0: A 0+1, B 0+1",
      "1: A 1+1, B 1+1",
      "2: A 2+1, B 2+1",
      "3: A 3+1, B 3+1",
      "4: A 4+1, B 4+1",
      "5: C 0+2",
      "6: C 2+2",
    ]);
  });

  it("dynamic: chunks shrink as the context grows, and stay at the last stage beyond maxTokens", () => {
    // Stages of 64 tokens with 64 and 32 tokens; the decode of B counts against them.
    const dynamic = { low: 32, high: 64, stages: 2, maxTokens: 128 };
    const lines = drive(
      { scheduler: "sarathi-serve", options: { chunking: "dynamic", dynamic } },
      { B: [0, 1, 4], A: [0, 200, 2] },
    );
    expect(lines).toEqual([
      "0: B 0+1, A 0+63",
      "1: B 1+1, A 63+63",
      "2: B 2+1, A 126+31",
      "3: B 3+1, A 157+31",
      "4: A 188+12",
      "5: A 200+1",
    ]);
  });

  it("chunk-plus-decodes: the chunks of a batch are a multiple of the tile, decodes come on top", () => {
    const lines = drive(
      {
        scheduler: "sarathi-serve",
        options: { chunking: "chunk-plus-decodes", chunkSize: 5, tile: 2 },
      },
      { A: [0, 6, 3], B: [0, 3, 2] },
    );
    expect(lines).toEqual(["0: A 0+4", "1: A 4+2, B 0+2", "2: A 6+1, B 2+1", "3: A 7+1, B 3+1"]);
  });

  it("slo: the largest multiple of the tile that keeps the step within the target", () => {
    // A step costs its tokens; target 10, tile 4, limit 16. Without decodes the limit holds (3 + 13). Beside the decode
    // of A, 8 is the largest multiple of 4 with 1 + n <= 10; the last 9 tokens of B fit as they are.
    const lines = drive(
      {
        scheduler: "sarathi-serve",
        options: { chunking: "slo", chunkSize: 16, tile: 4, targetTbt: 10 },
        cost: { stepSeconds: (plan) => plan.tokens },
      },
      { A: [0, 3, 4], B: [0, 30, 2] },
    );
    expect(lines).toEqual([
      "0: A 0+3, B 0+13",
      "1: A 3+1, B 13+8",
      "2: A 4+1, B 21+9",
      "3: A 5+1, B 30+1",
    ]);
  });

  it("slo: one tile goes on although decodes alone are beyond the target", () => {
    const lines = drive(
      {
        scheduler: "sarathi-serve",
        options: { chunking: "slo", chunkSize: 16, tile: 4, targetTbt: 0.5 },
        cost: { stepSeconds: (plan) => plan.tokens },
      },
      { A: [0, 3, 4], B: [0.5, 6, 1], C: [0.5, 2, 1] },
    );
    expect(lines).toEqual(["0: A 0+3", "1: A 3+1, B 0+4", "2: A 4+1, B 4+2", "3: A 5+1, C 0+2"]);
  });
});
