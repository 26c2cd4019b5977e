import { Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clipped, lengthSource } from "./lengths.ts";
import type { ClipMode, LengthSpec } from "./spec.ts";
import type { TraceRows } from "./trace-csv.ts";

const rows: TraceRows = {
  count: 3,
  arrivedAt: null,
  promptTokens: Int32Array.of(10, 20, 30),
  outputTokens: Int32Array.of(1, 2, 3),
};
const inputs = { trace: () => rows, shapes: {}, firstRow: 0 };

function draws(spec: LengthSpec, n: number, seed = 1): [number, number][] {
  const source = lengthSource(spec, new Rng(seed), inputs);
  return Array.from({ length: n }, () => {
    source.draw();
    return [source.prompt, source.output];
  });
}

describe("length models", () => {
  it("fixed", () => {
    expect(draws({ type: "fixed", prompt: 2048, output: 512 }, 2)).toEqual([
      [2048, 512],
      [2048, 512],
    ]);
  });

  it("uniform splits each total in the ratio, output rounded up", () => {
    const got = draws({ type: "uniform", min: 1024, max: 4096, promptToOutput: 20 }, 20_000);
    const totals = got.map(([p, o]) => p + o);
    expect(Math.min(...totals)).toBe(1024);
    expect(Math.max(...totals)).toBe(4096);
    expect(Math.abs(totals.reduce((a, b) => a + b) / totals.length / 2560 - 1)).toBeLessThan(0.01);
    for (const [p, o] of got) expect(o).toBe(Math.ceil((p + o) / 21));
  });

  it("range draws both ends", () => {
    const got = draws(
      { type: "range", prompt: { min: 5, max: 7 }, output: { min: 1, max: 2 } },
      500,
    );
    expect(new Set(got.map(String)).size).toBe(6);
  });

  it("zipf gives the k-th length weight k^-theta", () => {
    const n = 200_000;
    const got = draws({ type: "zipf", min: 101, max: 110, theta: 0.6, promptToOutput: 4 }, n);
    const weights = Array.from({ length: 10 }, (_, k) => (k + 1) ** -0.6);
    const sum = weights.reduce((a, b) => a + b);
    for (let k = 0; k < 10; k++) {
      const share = got.filter(([p, o]) => p + o === 101 + k).length / n;
      expect(Math.abs(share - weights[k] / sum)).toBeLessThan(0.005);
    }
  });

  it("zipf scrambled keeps the weights and deals them to other lengths", () => {
    const spec = { type: "zipf", min: 1000, max: 1999, theta: 1.2, promptToOutput: 1 } as const;
    const counts = (scramble: boolean): number[] => {
      const seen = new Map<number, number>();
      for (const [p, o] of draws({ ...spec, scramble }, 100_000)) {
        seen.set(p + o, (seen.get(p + o) ?? 0) + 1);
      }
      return [...seen].sort((a, b) => b[1] - a[1]).map(([total, n]) => (n > 5000 ? total : 0));
    };
    const plain = counts(false).filter((total) => total > 0);
    const scrambled = counts(true).filter((total) => total > 0);
    expect(plain).toEqual([1000, 1001, 1002]);
    expect(scrambled).toHaveLength(3);
    expect(scrambled).not.toEqual(plain);
  });

  it("trace goes round in file order, or each row once per round when shuffled", () => {
    expect(draws({ type: "trace", path: "t", order: "file" }, 4)).toEqual([
      [10, 1],
      [20, 2],
      [30, 3],
      [10, 1],
    ]);
    const shuffled = draws({ type: "trace", path: "t" }, 3).sort(([a], [b]) => a - b);
    expect(shuffled.map(([p]) => p)).toEqual([10, 20, 30]);
  });

  it("scales lengths, never below 1", () => {
    const spec = { type: "trace", path: "t", order: "file", promptScale: 2, outputScale: 0.1 };
    expect(draws(spec as LengthSpec, 2)).toEqual([
      [20, 1],
      [40, 1],
    ]);
  });

  it("names the nearest shape when one is unknown", () => {
    expect(() => draws({ type: "shape", name: "azure-conv-2032" }, 1)).toThrow(
      'no workload shape named "azure-conv-2032"',
    );
    try {
      draws({ type: "shape", name: "azure-conv-2032" }, 1);
    } catch (error) {
      expect((error as { hint: string }).hint).toBe("did you mean azure-conv-2023?");
    }
  });
});

describe("clipping", () => {
  const clip = (prompt: number, output: number, maxTokens: number, mode: ClipMode) => {
    const source = clipped({ prompt, output, draw: () => {} }, maxTokens, mode);
    source.draw();
    return [source.prompt, source.output];
  };

  it("cuts as asked", () => {
    expect(clip(3000, 1000, 2000, "proportional")).toEqual([1500, 500]);
    expect(clip(3000, 1000, 2000, "prompt")).toEqual([1000, 1000]);
    expect(clip(3000, 1000, 3500, "output")).toEqual([3000, 500]);
    expect(clip(3000, 1000, 2000, "output")).toEqual([1999, 1]);
    expect(clip(10, 10, 20, "proportional")).toEqual([10, 10]);
    // Both parts are cut by a rounded-up amount (Vidur), so one token may stay unused.
    expect(clip(7, 6, 10, "proportional")).toEqual([5, 4]);
  });

  it("keeps both parts at least 1 and the sum within the limit", () => {
    const tokens = fc.integer({ min: 1, max: 20_000 });
    const mode = fc.constantFrom<ClipMode>("proportional", "prompt", "output");
    fc.assert(
      fc.property(tokens, tokens, fc.integer({ min: 2, max: 9000 }), mode, (p, o, max, m) => {
        const [prompt, output] = clip(p, o, max, m);
        expect(prompt).toBeGreaterThanOrEqual(1);
        expect(output).toBeGreaterThanOrEqual(1);
        expect(prompt + output).toBeLessThanOrEqual(Math.min(max, p + o));
      }),
    );
  });

  it("drop draws again, and gives up when nothing is short enough", () => {
    const spec = {
      type: "range",
      prompt: { min: 1, max: 100 },
      output: { min: 1, max: 1 },
    } as const;
    const source = clipped(lengthSource(spec, new Rng(1), inputs), 11, "drop");
    const seen = new Set<number>();
    for (let i = 0; i < 500; i++) {
      source.draw();
      seen.add(source.prompt);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(() => clip(10, 10, 5, "drop")).toThrow("no request of at most maxTokens 5");
  });
});
