/** From training under a plan to a served completion: what a decoder was taught here, the engine's server says. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engineModule, startEngine } from "@millrace/engine/process";
import { createServer } from "@millrace/engine/server";
import { buildModel, GraphTrainable, optimizers, prepareRun } from "@millrace/remat";
import { afterAll, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "millrace-trained-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Tokens that the decoder learns by heart: no two alike, none of the vocabulary's control tokens. */
const taught = Int32Array.from({ length: 33 }, (_, i) => 100 + ((i * 57) % 250));
const given = 4;
const copies = 8;

test("a decoder trained under a plan is served, and says what it was taught", {
  timeout: 120_000,
}, async () => {
  const optimizer = { ...optimizers.adamw, rate: 5e-3 };
  const graph = buildModel("llama-small", {
    ...{ batch: copies, tokens: 32, layers: 2, width: 64, heads: 4, keyHeads: 2 },
    ...{ feedForward: 96, vocabulary: 400 },
  });
  const { table, plan, keepAll, predicted } = await prepareRun({
    ...{ graph, optimizer, threads: 1, budget: { activationShare: 0.7 } },
    ...{ effort: "low" as const, seed: 1, measureSeconds: 0.001 },
  });
  expect(predicted.peakBytes).toBeLessThan(keepAll.peakBytes);
  const path = join(folder, "taught.gguf");
  {
    await using model = await GraphTrainable.open({ graph, table, plan, optimizer, seed: 1 });
    const copied = (from: number) =>
      Int32Array.from({ length: 32 * copies }, (_, i) => taught[from + (i % 32)] as number);
    const batch = { tokens: copied(0), labels: copied(1) };
    let loss = Number.POSITIVE_INFINITY;
    for (let step = 0; step < 200 && loss > 0.02; step++) loss = (await model.step(batch)).loss;
    expect(loss).toBeLessThan(0.1);
    await model.process.call("export", { path, type: "f16" });
  }
  const engine = await startEngine(
    {
      ...{ modelPath: path, name: "taught", executor: "auto", threads: 1, contextTokens: 64 },
      scheduler: {
        ...{ type: "vllm-v0", chunkSize: 64, batchSizeCap: 1, maxTokensInBatch: 64, tile: 64 },
        ...{ chunking: "static", targetTbt: 0.1, maxWaitingIters: 10 },
        dynamic: { low: 64, high: 128, stages: 2, maxTokens: 512 },
      },
      kv: {
        ...{ type: "vattention", backend: "auto", memoryBytes: 8 * 1024 ** 2 },
        ...{ layout: "per-layer", blockTokens: 16, prefixSharing: false },
        ...{ deferredReclamation: true, eagerSteps: 10, eagerGroups: 2 },
      },
      ...{ maxWaiting: 10, deterministic: true, stepTimeoutSeconds: 60 },
    },
    { module: engineModule },
  );
  const server = createServer(engine, { port: 0 });
  try {
    const url = await server.listen();
    const answer = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        ...{ model: "taught", prompt: [...taught.slice(0, given)], temperature: 0 },
        max_tokens: 32 - given,
      }),
    });
    expect(answer.status).toBe(200);
    const { choices, usage } = (await answer.json()) as {
      choices: { text: string }[];
      usage: { completion_tokens: number };
    };
    expect(usage.completion_tokens).toBe(32 - given);
    expect(choices[0]?.text).toBe(await engine.detokenize(taught.slice(given, 32)));
  } finally {
    await server.close();
    await engine.close();
  }
});
