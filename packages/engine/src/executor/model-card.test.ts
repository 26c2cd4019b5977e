import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, expect, it } from "vitest";
import { readModelCard } from "./model-card.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-card-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("reads the card of a model", () => {
  const out = join(folder, "tiny.gguf");
  makeModel({ preset: "tiny", out });
  const card = readModelCard(out);
  expect(card).toMatchObject({
    path: out,
    architecture: "llama",
    contextTokens: 4096,
    vocabularySize: 512,
    bosToken: 1,
    eosToken: 2,
    embeddings: false,
  });
  expect(card.parameters).toBeGreaterThan(1e6);
  expect(() => readModelCard(join(folder, "absent.gguf"))).toThrow(/no such file/);
});
