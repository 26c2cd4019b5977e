import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hash128 } from "@millrace/core";
import { afterAll, describe, expect, it } from "vitest";
import { dequantize } from "../../quantize.ts";
import { openGguf } from "../gguf.ts";
import { makeModel } from "./make-model.ts";
import { type FamilyName, families } from "./presets.ts";
import { vocabularyMetadata } from "./vocabulary.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-make-"));
afterAll(() => rmSync(folder, { recursive: true }));

const bytesOf = (path: string) => hash128(readFileSync(path).toString("latin1"));

describe("makeModel", () => {
  it("gives the same bytes for the same seed, others for another", () => {
    const made = [0, 0, 1].map(
      (seed, i) => makeModel({ preset: "tiny", seed, out: join(folder, `seed${i}.gguf`) }).path,
    );
    const [a, b, c] = made.map(bytesOf);
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
  });

  for (const architecture of Object.keys(families) as FamilyName[])
    it(`makes a file of family ${architecture} that can be read`, () => {
      const out = join(folder, `${architecture}.gguf`);
      makeModel({ preset: "tiny", architecture, type: "f32", out });
      using model = openGguf(out);
      const { architecture: name, tied, attentionBias, headNorms } = families[architecture];
      expect(model.metadata.string("general.architecture")).toBe(name);
      expect(model.metadata.length("tokenizer.ggml.tokens")).toBe(512);
      expect(model.tensor("output.weight") === undefined).toBe(tied);
      expect(model.tensor("blk.1.attn_q.bias") !== undefined).toBe(attentionBias);
      expect(model.tensor("blk.1.attn_k_norm.weight") !== undefined).toBe(headNorms);
      const q = model.tensor("blk.0.attn_q.weight");
      expect(q?.shape).toEqual([256, 256]);
      if (q === undefined) throw new Error("no attn_q");
      const bytes = model.data(q);
      const values = new Float32Array(bytes.buffer, bytes.byteOffset, q.elements);
      const square = values.reduce((sum, value) => sum + value * value, 0) / values.length;
      expect(Math.sqrt(square)).toBeCloseTo(1.5 / 16, 2);
    });

  it.each([
    ["q8_0", 0.01],
    ["q6_K", 0.03],
    ["q4_K", 0.1],
    ["q4_0", 0.12],
  ] as const)("writes %s blocks that stand for the same values", (type, most) => {
    const values = (format: "f32" | typeof type): Float32Array => {
      const out = join(folder, `${format}.gguf`);
      using model = openGguf(makeModel({ preset: "tiny", type: format, seed: 3, out }).path);
      const q = model.tensor("blk.1.ffn_down.weight");
      if (q === undefined) throw new Error("no ffn_down");
      expect(q.type).toBe(format);
      return dequantize(format, Uint8Array.from(model.data(q)));
    };
    const [exact, stored] = [values("f32"), values(type)];
    let error = 0;
    let size = 0;
    exact.forEach((v, i) => {
      error += (v - stored[i]!) ** 2;
      size += v * v;
    });
    expect(Math.sqrt(error / size)).toBeGreaterThan(0);
    expect(Math.sqrt(error / size)).toBeLessThan(most);
  });

  it("refuses names that do not exist", () => {
    const out = join(folder, "never.gguf");
    const wrong = { preset: "huge" as "tiny", out };
    expect(() => makeModel(wrong)).toThrow(/there is no preset "huge"/);
    expect(() => makeModel({ preset: "tiny", type: "q3" as "f32", out })).toThrow(/no type "q3"/);
  });
});

describe("vocabularies", () => {
  for (const kind of ["spm", "bpe"] as const)
    it(`have exactly the size asked for and no token twice (${kind})`, () => {
      for (const size of [512, 2048, 8192]) {
        const tokens = vocabularyMetadata(kind, size)["tokenizer.ggml.tokens"]?.value as string[];
        expect(tokens.length).toBe(size);
        expect(new Set(tokens).size).toBe(size);
      }
    });
});
