/** A real engine on a tiny made model, in this process: what tests of the whole need. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeModel } from "@millrace/ggml/gguf";
import { resolveServe, serveSchema } from "../config/index.ts";
import type { EngineClient, EngineOptions, GenerateEvent, GenerateRequest } from "../contracts.ts";
import { createEngine } from "../loop/create-engine.ts";
import { defaultSampling } from "../sampling/index.ts";

/** A folder with a tiny model; `remove` when done. */
export function tinyModel(architecture: "llama" | "qwen3" = "llama") {
  const folder = mkdtempSync(join(tmpdir(), "millrace-real-"));
  const path = join(folder, "tiny.gguf");
  makeModel({ preset: "tiny", architecture, out: path, seed: 5 });
  return { path, folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Options as `millrace serve` would make them of these keys. */
export function optionsOf(model: string, keys: Readonly<Record<string, unknown>>): EngineOptions {
  const input = serveSchema.parse({
    model,
    threads: 1,
    contextTokens: 1024,
    kv: { memory: "64MiB", page: "4KiB" },
    ...keys,
  });
  return resolveServe(input, {
    cores: 1,
    modelContextTokens: 2048,
    tileTokens: 64,
    filePath: (path) => path,
    readText: () => "",
    readProfile: () => {
      throw new Error("no profile was named");
    },
  }).engine;
}

/** An engine in this process; a failure that ends it fails the test that awaits `fatal`. */
export async function openEngine(model: string, keys: Readonly<Record<string, unknown>> = {}) {
  const fatal: string[] = [];
  const engine = await createEngine(optionsOf(model, keys), {
    onFatal: (message) => fatal.push(message),
  });
  return { engine, fatal };
}

/** A request whose prompt is a function of `i`; seeded, never ended by a token. */
export function requestOf(
  i: number,
  promptTokens: number,
  maxTokens: number,
  more: Partial<GenerateRequest> = {},
): GenerateRequest {
  return {
    id: `r${i}`,
    prompt: Int32Array.from({ length: promptTokens }, (_, k) => (k * 31 + i * 17 + 3) % 400),
    maxTokens,
    sampling: { ...defaultSampling, seed: i },
    stop: [],
    stopTokens: [],
    ignoreEos: true,
    minTokens: 0,
    grammar: null,
    priority: 0,
    deadlineSeconds: Number.POSITIVE_INFINITY,
    ...more,
  };
}

/** Tokens and end of a request. */
export async function finish(
  engine: EngineClient,
  request: GenerateRequest,
  signal = new AbortController().signal,
) {
  const tokens: number[] = [];
  let end: Extract<GenerateEvent, { type: "finish" | "error" }> | null = null;
  for await (const event of engine.generate(request, signal)) {
    if (event.type === "tokens") tokens.push(...event.tokens);
    else if (event.type !== "admitted") end = event;
  }
  return { tokens, end };
}
