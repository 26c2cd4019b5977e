import { existsSync, readFileSync } from "node:fs";
import { kolmogorovSmirnov, Rng, spearman } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fitLengths, LengthInverse } from "./length-distribution.ts";
import { distanceTo, fitShape, ShapeSource, type WorkloadShape } from "./shape.ts";
import { builtInShapes } from "./shapes/index.ts";
import { readLengths } from "./trace-csv.ts";

function drawn(shape: WorkloadShape, n: number, seed = 1): { prompt: number[]; output: number[] } {
  const source = new ShapeSource(shape, new Rng(seed));
  const prompt: number[] = [];
  const output: number[] = [];
  for (let i = 0; i < n; i++) {
    source.draw();
    prompt.push(source.prompt);
    output.push(source.output);
  }
  return { prompt, output };
}

/** Lognormal prompts with bursts at a few values, and outputs that depend on them. */
function sample(n: number, seed: string): { prompt: Int32Array; output: Int32Array } {
  const rng = new Rng(seed);
  const prompt = new Int32Array(n);
  const output = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const z = rng.normal();
    prompt[i] = rng.next() < 0.2 ? 512 : Math.ceil(Math.exp(6 + 1.2 * z));
    output[i] = Math.ceil(Math.exp(4 - 0.8 * z + 0.5 * rng.normal()));
  }
  return { prompt, output };
}

describe("length tables", () => {
  it("stay within the tolerance of the sample and within its range", () => {
    const values = fc.array(
      fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 100_000 })),
      { minLength: 1, maxLength: 300 },
    );
    fc.assert(
      fc.property(values, (list) => {
        const sorted = Int32Array.from(list).sort();
        const table = fitLengths(sorted);
        expect(table.cdf[0]).toBe(0);
        expect(table.cdf.at(-1)).toBe(1);
        const inverse = new LengthInverse(table);
        const n = 4000;
        const got = Float64Array.from({ length: n }, (_, i) => inverse.at((i + 0.5) / n));
        expect(got.slice().sort()).toEqual(got);
        expect(got[0]).toBeGreaterThanOrEqual(sorted[0]);
        expect(got[n - 1]).toBeLessThanOrEqual(sorted[sorted.length - 1]);
        const distance = kolmogorovSmirnov(got, Float64Array.from(sorted));
        expect(distance).toBeLessThanOrEqual(Math.max(0.0015, 1 / list.length) + 0.001);
      }),
    );
  });

  it("keep an exact value exact", () => {
    const inverse = new LengthInverse(fitLengths(Int32Array.of(7, 7, 7)));
    for (const u of [0, 0.3, 0.999999999]) expect(inverse.at(u)).toBe(7);
  });
});

describe("fitShape", () => {
  const { prompt, output } = sample(20_000, "sample");
  const shape = fitShape({ name: "test", source: "a test" }, prompt, output);

  it("is deterministic and close to its sample in prompt, output and total", () => {
    expect(fitShape({ name: "test", source: "a test" }, prompt, output)).toEqual(shape);
    expect(shape.distance.prompt).toBeLessThan(0.01);
    expect(shape.distance.output).toBeLessThan(0.01);
    expect(shape.distance.total).toBeLessThan(0.015);
    expect(shape.prompt.mean).toBeCloseTo(prompt.reduce((a, b) => a + b) / prompt.length, 6);
  });

  it("keeps mean and tail", () => {
    const got = drawn(shape, 200_000);
    const mean = got.prompt.reduce((a, b) => a + b) / got.prompt.length;
    expect(Math.abs(mean / shape.prompt.mean - 1)).toBeLessThan(0.02);
    const p999 = (values: Iterable<number>): number => {
      const sorted = Float64Array.from(values).sort();
      return sorted[Math.floor(sorted.length * 0.999)];
    };
    expect(Math.abs(p999(got.prompt) / p999(prompt) - 1)).toBeLessThan(0.1);
  });

  it("keeps the rank correlation, with the table and without", () => {
    for (const copula of [shape.copula, null]) {
      const got = drawn({ ...shape, copula }, 50_000);
      expect(Math.abs(spearman(got.prompt, got.output) - shape.rankCorrelation)).toBeLessThan(0.02);
    }
  });

  it("takes few requests, and equal ones", () => {
    const few = fitShape({ name: "few", source: "" }, Int32Array.of(5, 9), Int32Array.of(3, 4));
    expect(few.copula).toBeNull();
    const got = drawn(few, 100);
    expect(Math.max(...got.prompt)).toBeLessThanOrEqual(9);
    const same = new Int32Array(1000).fill(8);
    expect(fitShape({ name: "same", source: "" }, same, same).distance).toEqual({
      prompt: 0,
      output: 0,
      total: 0,
    });
  });

  it("measures arrivals where there are times", () => {
    const at = Float64Array.from({ length: 101 }, (_, i) => i / 4);
    const ones = new Int32Array(101).fill(1);
    const even = fitShape({ name: "even", source: "" }, ones, ones, at);
    expect(even.arrivals).toEqual({ qps: 4, cv: 0 });
  });
});

const traces = new URL("../../../../../shared/data/traces/", import.meta.url);
const files: Record<string, string> = {
  "azure-conv-2023": "splitwise_conv.csv",
  "azure-code-2023": "splitwise_code.csv",
  "arxiv-summarization": "arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv",
  "sharegpt-chat": "sharegpt_val_10k_llama2.csv",
};

describe.each(Object.keys(builtInShapes))("built-in shape %s", (name) => {
  const shape = builtInShapes[name];
  const file = new URL(files[name] ?? "absent", traces);

  it("is whole and says how near it is", () => {
    expect(shape.name).toBe(name);
    for (const { tokens, cdf } of [shape.prompt, shape.output]) {
      expect(cdf).toHaveLength(tokens.length);
      expect([cdf[0], cdf.at(-1)]).toEqual([0, 1]);
      for (let k = 1; k < cdf.length; k++) {
        expect(tokens[k] > tokens[k - 1] && cdf[k] >= cdf[k - 1]).toBe(true);
      }
    }
    expect(Math.max(shape.distance.prompt, shape.distance.output)).toBeLessThan(0.005);
    expect(shape.distance.total).toBeLessThan(0.02);
  });

  it.skipIf(!existsSync(file))("matches its trace (skipped where the trace is absent)", () => {
    const rows = readLengths(readFileSync(file, "utf8"), name);
    expect(distanceTo(shape, rows.promptTokens, rows.outputTokens)).toEqual(shape.distance);
  });
});
