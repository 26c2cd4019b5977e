import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openGguf } from "./gguf.ts";
import { makeModel } from "./make/make-model.ts";
import { modelInfo } from "./model-info.ts";
import { sampleMetadata } from "./sample.conformance.ts";
import { writeGguf } from "./write/write-gguf.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-info-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("summarises a model", () => {
  const out = join(folder, "tiny.gguf");
  makeModel({ preset: "tiny", architecture: "qwen3", out });
  using gguf = openGguf(out);
  const info = modelInfo(gguf);
  expect(info).toMatchObject({
    architecture: "qwen3",
    contextTokens: 4096,
    vocabularySize: 512,
    dim: 256,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    headDim: 64,
    bosToken: 509,
    eosToken: 511,
  });
  expect(info.chatTemplate).toContain("<|im_start|>");
  expect(info.formats.map(({ type }) => type)).toEqual(["f16", "f32"]);
  expect(info.parameters).toBe(gguf.tensors.reduce((sum, { elements }) => sum + elements, 0));
});

it("names the key that a file lacks", () => {
  const out = join(folder, "lacking.gguf");
  writeGguf(out, sampleMetadata, []);
  using gguf = openGguf(out);
  expect(() => modelInfo(gguf)).toThrow(/the metadata lack llama.embedding_length/);
});
