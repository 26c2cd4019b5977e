/** The server over a real engine in its own process, with a made model of random weights. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeModel } from "@millrace/ggml/gguf";
import fc from "fast-check";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineOptions } from "../contracts.ts";
import { engineModule, type SupervisedEngine, startEngine } from "../process/index.ts";
import { createServer, type Server } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-server-"));
const options: EngineOptions = {
  modelPath: join(folder, "tiny.gguf"),
  name: "tiny",
  executor: "auto",
  threads: 1,
  contextTokens: 1024,
  scheduler: {
    type: "sarathi-serve",
    chunkSize: 64,
    batchSizeCap: 16,
    maxTokensInBatch: 512,
    tile: 64,
    chunking: "static",
    dynamic: { low: 64, high: 128, stages: 2, maxTokens: 512 },
    targetTbt: 0.1,
    maxWaitingIters: 10,
  },
  kv: {
    type: "vattention",
    backend: "auto",
    memoryBytes: 32 * 1024 ** 2,
    layout: "per-layer",
    blockTokens: 16,
    prefixSharing: true,
    deferredReclamation: true,
    eagerSteps: 10,
    eagerGroups: 2,
  },
  maxWaiting: 400,
  deterministic: true,
  stepTimeoutSeconds: 60,
};

let engine: SupervisedEngine;
let server: Server;
let url: string;
let ai: OpenAI;
async function start(): Promise<void> {
  engine = await startEngine(options, { module: engineModule });
  server = createServer(engine, { port: 0, chatTemplate: "hermes" });
  url = await server.listen();
  ai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "k", maxRetries: 0 });
}
async function stop(): Promise<void> {
  await server.close();
  await engine.close();
}
beforeAll(async () => {
  makeModel({ preset: "tiny", out: options.modelPath, seed: 1 });
  await start();
}, 60_000);
afterAll(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});
/** Whatever a test did, the engine must have given everything back. */
afterEach(async () => {
  await expect
    .poll(
      async () => {
        const { running, waiting } = await engine
          .stats()
          .catch(() => ({ running: -1, waiting: -1 }));
        return [running, waiting];
      },
      { timeout: 20_000 },
    )
    .toEqual([0, 0]);
}, 30_000);

const hello = [{ role: "user" as const, content: "Hello, día!" }];
const model = "tiny";
const post = (body: object, signal: AbortSignal | null = null) =>
  fetch(`${url}/v1/completions`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
    signal,
  });

describe("chat", () => {
  it("is the completion of its prompt, whole and streamed", async () => {
    const ask = {
      model,
      messages: hello,
      max_tokens: 24,
      seed: 5,
      logprobs: true,
      top_logprobs: 2,
    };
    const whole = await ai.chat.completions.create(ask);
    const [choice] = whole.choices;
    const content = choice.logprobs?.content ?? [];
    expect(content).toHaveLength(whole.usage?.completion_tokens ?? 0);
    const bytes = Buffer.from(content.flatMap((one) => one.bytes ?? []));
    expect(
      bytes.toString().startsWith(choice.message.content?.replace(/\ufffd+$/, "") ?? "?"),
    ).toBe(true);
    for (const one of content) {
      expect(one.logprob).toBeLessThanOrEqual(0);
      expect(one.top_logprobs).toHaveLength(2);
      expect(one.top_logprobs[0].logprob).toBeGreaterThanOrEqual(one.logprob);
    }
    let text = "";
    for await (const chunk of await ai.chat.completions.create({ ...ask, stream: true }))
      text += chunk.choices[0]?.delta.content ?? "";
    expect(text).toBe(choice.message.content);
    const tokens = (await (
      await fetch(`${url}/tokenize`, {
        method: "POST",
        body: JSON.stringify({ messages: hello }),
        headers: { "content-type": "application/json" },
      })
    ).json()) as { tokens: number[]; count: number };
    expect(tokens.count).toBe(whole.usage?.prompt_tokens);
    const plain = await ai.completions.create({
      model,
      prompt: tokens.tokens,
      max_tokens: 24,
      seed: 5,
    });
    expect(plain.choices[0].text).toBe(choice.message.content);
  });

  it("calls the tools that it must, with arguments of their schema", async () => {
    const parameters = {
      type: "object",
      properties: {
        city: { enum: ["Rome", "Bern"] },
        days: { type: "integer", minimum: 1, maximum: 9 },
      },
      required: ["city", "days"],
    };
    const tools = ["weather", "climate"].map((name) => ({
      type: "function" as const,
      function: { name, parameters },
    }));
    for (const seed of [1, 2, 3]) {
      const answer = await ai.chat.completions.create({
        ...{ model, messages: hello, tools, seed, max_tokens: 150 },
        tool_choice: { type: "function", function: { name: "climate" } },
        parallel_tool_calls: false,
      });
      const [call] = answer.choices[0].message.tool_calls ?? [];
      expect(answer.choices[0].finish_reason).toBe("tool_calls");
      if (call?.type !== "function") throw new Error("no call");
      expect(call.function.name).toBe("climate");
      expect(JSON.parse(call.function.arguments)).toEqual({
        city: expect.stringMatching(/^(Rome|Bern)$/),
        days: expect.any(Number),
      });
    }
    const runner = ai.chat.completions.stream({
      model,
      messages: hello,
      tools,
      tool_choice: "required",
      max_tokens: 300,
      seed: 4,
    });
    const calls = (await runner.finalChatCompletion()).choices[0].message.tool_calls ?? [];
    expect(calls.length).toBeGreaterThan(0);
  });

  it("keeps to a JSON schema, also where the model could call instead", async () => {
    const schema = {
      type: "object",
      properties: {
        kind: { enum: ["a", "b"] },
        list: { type: "array", items: { type: "boolean" }, maxItems: 3 },
      },
      required: ["kind", "list"],
      additionalProperties: false,
    };
    const response_format = {
      type: "json_schema" as const,
      json_schema: { name: "x", strict: true, schema },
    };
    for (const seed of [1, 2, 3, 4]) {
      const answer = await ai.chat.completions.create({
        model,
        messages: hello,
        response_format,
        seed,
        max_tokens: 200,
      });
      expect(answer.choices[0].finish_reason).toBe("stop");
      expect(JSON.parse(answer.choices[0].message.content ?? "")).toEqual({
        kind: expect.stringMatching(/^[ab]$/),
        list: expect.any(Array),
      });
    }
    const choice = await post({ prompt: "x", guided_choice: ["left", "right"], max_tokens: 20 });
    expect(await choice.json()).toMatchObject({
      choices: [{ text: expect.stringMatching(/^(left|right)$/) }],
    });
    const broken = await post({ prompt: "x", grammar: "root ::= undefined-rule" });
    expect([broken.status, JSON.stringify(await broken.json())]).toEqual([
      400,
      expect.stringContaining("grammar"),
    ]);
  });
});

it("scores a prompt with the logprobs that generating it would have", async () => {
  const ask = { model, prompt: "The river", max_tokens: 12, temperature: 0, logprobs: 1 };
  const written = await ai.completions.create({ ...ask, ...{ return_token_ids: true } });
  const ids = (written.choices[0] as unknown as { token_ids: number[] }).token_ids;
  const own = written.choices[0].logprobs?.token_logprobs ?? [];
  const { tokens } = (await (
    await fetch(`${url}/tokenize`, {
      method: "POST",
      body: JSON.stringify({ prompt: "The river" }),
      headers: { "content-type": "application/json" },
    })
  ).json()) as { tokens: number[] };
  const scored = await ai.completions.create({
    model,
    prompt: [...tokens, ...ids],
    echo: true,
    logprobs: 1,
    max_tokens: 0,
  });
  const again = scored.choices[0].logprobs?.token_logprobs?.slice(tokens.length) ?? [];
  expect(again).toHaveLength(own.length);
  for (const [i, value] of again.entries()) expect(value).toBeCloseTo(own[i] ?? 0, 3);
});

it("refuses prompts at the limit with the numbers, and takes those below", async () => {
  const prompt = Array(1000).fill(300);
  const fits = await post({ prompt, max_tokens: 24, ignore_eos: true });
  expect(await fits.json()).toMatchObject({
    usage: { prompt_tokens: 1000, completion_tokens: 24 },
  });
  const over = await post({ prompt, max_tokens: 25 });
  expect([over.status, await over.text()]).toEqual([
    400,
    expect.stringContaining("1025 of at most 1024"),
  ]);
});

it("gives a request the same tokens alone and among others, and marks cached prompt tokens", async () => {
  const ask = { prompt: Array(300).fill(301), max_tokens: 16, seed: 9, ignore_eos: true };
  const alone = (await (await post(ask)).json()) as { choices: { text: string }[] };
  const all = await Promise.all(
    Array.from({ length: 20 }, async (_, i) =>
      (await post(i % 2 === 0 ? ask : { ...ask, prompt: `other ${i}`, seed: i })).json(),
    ),
  );
  for (const [i, answer] of all.entries())
    if (i % 2 === 0) expect((answer as typeof alone).choices[0].text).toBe(alone.choices[0].text);
  const stats = await engine.stats();
  expect(stats.cachedTokens).toBeLessThanOrEqual(stats.promptTokens);
}, 30_000);

it("serves 200 streams at once", async () => {
  const texts = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const response = await post({
        prompt: `stream ${i}`,
        max_tokens: 10,
        stream: true,
        ignore_eos: true,
        stream_options: { include_usage: true },
      });
      return response.text();
    }),
  );
  for (const text of texts) {
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(text).toContain('"completion_tokens":10');
  }
}, 60_000);

it("gives slots back when clients leave at any moment", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          after: fc.nat(30),
          stream: fc.boolean(),
          n: fc.integer({ min: 1, max: 3 }),
          prompt: fc.integer({ min: 1, max: 400 }),
        }),
        { minLength: 1, maxLength: 8 },
      ),
      async (clients) => {
        await Promise.all(
          clients.map(async ({ after, stream, n, prompt }) => {
            const leave = new AbortController();
            const timer = setTimeout(() => leave.abort(), after);
            const body = {
              prompt: Array(prompt).fill(302),
              max_tokens: 600,
              stream,
              n,
              ignore_eos: true,
            };
            await post(body, leave.signal)
              .then((r) => r.text())
              .catch(() => {});
            clearTimeout(timer);
          }),
        );
        await expect.poll(async () => (await engine.stats()).running, { timeout: 10_000 }).toBe(0);
      },
    ),
    { numRuns: 15 },
  );
  expect((await engine.stats()).kvGroupsUsed).toBe(await usedAtRest());
}, 60_000);

/** Page groups that stay in use without requests: prefixes that may be shared. A repeated prompt must not add any. */
async function usedAtRest(): Promise<number> {
  await (await post({ prompt: Array(400).fill(302), max_tokens: 1 })).text();
  return (await engine.stats()).kvGroupsUsed;
}

it("passes a deadline, and a switch of schedulers while requests run", async () => {
  const late = await post({ prompt: "x", max_tokens: 900, ignore_eos: true, deadline_ms: 30 });
  expect([late.status, late.headers.get("x-should-retry")]).toEqual([504, "false"]);
  const running = post({ prompt: "x", max_tokens: 900, ignore_eos: true });
  await expect.poll(async () => (await engine.stats()).running, { interval: 5 }).toBe(1);
  const switched = await fetch(`${url}/admin/scheduler`, {
    method: "POST",
    body: JSON.stringify({ type: "vllm-v1", parameters: { chunkSize: 128 } }),
    headers: { "content-type": "application/json" },
  });
  expect(await switched.json()).toEqual({ type: "vllm-v1" });
  expect((await running).status).toBe(200);
  expect((await post({ prompt: "x", max_tokens: 2 })).status).toBe(200);
  const wrong = await fetch(`${url}/admin/scheduler`, {
    method: "POST",
    body: JSON.stringify({ type: "vllm-v1", parameters: { chunksize: 128 } }),
    headers: { "content-type": "application/json" },
  });
  expect([wrong.status, await wrong.text()]).toEqual([400, expect.stringContaining("chunkSize")]);
});

it("answers 503 when the engine is killed, recovers, and ends with a drain", async () => {
  const long = { prompt: "x", max_tokens: 1000, ignore_eos: true };
  const stream = await post({ ...long, stream: true });
  const whole = post(long);
  await expect.poll(async () => (await engine.stats()).running).toBe(2);
  process.kill(engine.pid ?? 0, "SIGKILL");
  expect(await stream.text()).toMatch(/"code":"engine_crashed"\}\}\n\ndata: \[DONE\]\n\n$/);
  const answer = await whole;
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
  expect((await fetch(`${url}/health`)).status).toBe(200);
  await expect
    .poll(async () => (await fetch(`${url}/ready`)).status, { timeout: 20_000 })
    .toBe(200);
  const running = await post({ prompt: "x", max_tokens: 40, stream: true, ignore_eos: true });
  const drained = server.drain(20);
  expect((await post({ prompt: "y" })).status).toBe(503);
  expect(await running.text()).toContain('"finish_reason":"length"');
  await drained;
  await engine.close();
  await start();
}, 60_000);
