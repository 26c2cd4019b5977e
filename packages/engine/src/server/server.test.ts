import OpenAI from "openai";
import { afterEach, expect, it } from "vitest";
import { scriptedEngine } from "./scripted-engine.conformance.ts";
import { createServer, type Server } from "./server.ts";

let server: Server | null = null;
afterEach(async () => {
  await server?.close();
  server = null;
});
async function start(engine = scriptedEngine(), options: Parameters<typeof createServer>[1] = {}) {
  server = createServer(engine, { port: 0, ...options });
  const url = await server.listen();
  return { engine, url, ai: new OpenAI({ baseURL: `${url}/v1`, apiKey: "k", maxRetries: 0 }) };
}
const post = (url: string, body: string) =>
  fetch(`${url}/v1/completions`, {
    method: "POST",
    body,
    headers: { "content-type": "application/json" },
  });

it("completes, whole and streamed, with usage and logprobs", async () => {
  const { ai } = await start();
  const whole = await ai.completions.create({
    model: "scripted",
    prompt: ["ab", "c"],
    n: 2,
    max_tokens: 9,
    logprobs: 1,
    echo: false,
  });
  expect(whole.choices.map((choice) => choice.text)).toEqual(Array(4).fill("the quick"));
  expect(whole.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 36 });
  expect(whole.choices[0].logprobs?.tokens?.join("")).toBe("the quick");
  const stream = await ai.completions.create({
    model: "scripted",
    prompt: "ab",
    max_tokens: 9,
    stream: true,
    echo: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage: unknown = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.text ?? "";
    usage = chunk.usage ?? usage;
  }
  expect(text).toBe("abthe quick");
  expect(usage).toMatchObject({ prompt_tokens: 2, completion_tokens: 9 });
});

it("scores a prompt with echo and logprobs, alone or with what follows", async () => {
  const { ai, engine, url } = await start();
  const ask = { model: "scripted", prompt: "añb", echo: true, logprobs: 1 };
  for (const max_tokens of [0, 3]) {
    const { choices, usage } = await ai.completions.create({ ...ask, max_tokens });
    const rest = "the".slice(0, max_tokens);
    expect(choices[0].text).toBe(`añb${rest}`);
    expect(choices[0].finish_reason).toBe("length");
    expect(choices[0].logprobs).toMatchObject({
      tokens: ["a", "bytes:\\xc3", "bytes:\\xb1", "b", ...rest],
      token_logprobs: [null, ...Array(3 + max_tokens).fill(-0.5)],
      text_offset: [0, 1, 1, 2, 3, 4, 5].slice(0, 4 + max_tokens),
    });
    expect(usage).toMatchObject({ prompt_tokens: 4, completion_tokens: max_tokens });
  }
  expect(engine.requests[1].maxTokens).toBe(6);
  const stream = await ai.completions.create({ ...ask, max_tokens: 3, stream: true });
  const parts = [];
  for await (const chunk of stream) parts.push(chunk.choices[0]);
  expect(parts.map((part) => part.text).join("")).toBe("añbthe");
  expect(parts.flatMap((part) => part.logprobs?.token_logprobs ?? [])).toHaveLength(7);
  const plain = await ai.completions.create({
    model: "scripted",
    prompt: "a",
    echo: true,
    max_tokens: 0,
  });
  expect(plain.choices[0].text).toBe("a");
  expect((await post(url, '{"prompt":"a","max_tokens":0}')).status).toBe(400);
});

it("answers errors in OpenAI's shape", async () => {
  const { url } = await start(scriptedEngine(), { apiKeys: ["k"], maxBodyBytes: 1000 });
  expect((await fetch(`${url}/v1/models`)).status).toBe(401);
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(url + path, {
      ...init,
      headers: { authorization: "Bearer k", "content-type": "application/json" },
    });
  expect((await ask("/nowhere")).status).toBe(404);
  expect((await ask("/v1/completions")).headers.get("allow")).toBe("POST");
  const big = await ask("/v1/completions", { method: "POST", body: "x".repeat(2000) });
  expect(big.status).toBe(413);
  const long = await ask("/v1/completions", {
    method: "POST",
    body: '{"prompt":"a","max_tokens":200000}',
  });
  expect(long.status).toBe(400);
  expect(JSON.stringify(await long.json())).toContain("200001 of at most 100000");
  const warned = await ask("/v1/completions", {
    method: "POST",
    body: '{"prompt":"a","strange":1}',
  });
  expect(warned.headers.get("x-millrace-warning")).toContain("strange");
  expect(await (await ask("/metrics")).text()).toContain('millrace_kv_groups{state="mapped"} 4');
});

it("fails a crashed request with a 503, or an error event once streaming", async () => {
  const { url } = await start(scriptedEngine({ crashAfter: 3 }));
  const whole = await post(url, '{"prompt":"a"}');
  expect([whole.status, whole.headers.get("retry-after")]).toEqual([503, "1"]);
  const streamed = await (await post(url, '{"prompt":"a","stream":true}')).text();
  expect(streamed).toContain('"code":"engine_crashed"');
  expect(streamed.endsWith("data: [DONE]\n\n")).toBe(true);
});

it("frees the engine when the client leaves, and serves 200 streams at once", async () => {
  const { url, engine } = await start();
  const leave = new AbortController();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    signal: leave.signal,
    body: '{"prompt":"a","stream":true,"max_tokens":90000}',
    headers: { "content-type": "application/json" },
  });
  expect(engine.live).toBe(1);
  await response.body?.getReader().read();
  leave.abort();
  await expect.poll(() => engine.live).toBe(0);
  const texts = await Promise.all(
    Array.from({ length: 200 }, async () =>
      (await post(url, '{"prompt":"a","stream":true}')).text(),
    ),
  );
  for (const text of texts) expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  expect(engine.live).toBe(0);
});

it("refuses beyond the limit with 429 and Retry-After, what can never fit with 400", async () => {
  const { url, engine } = await start(scriptedEngine({ hangAfter: 0 }), { maxInFlight: 2 });
  const leave = new AbortController();
  const held = fetch(`${url}/v1/completions`, {
    method: "POST",
    body: '{"prompt":"a"}',
    headers: { "content-type": "application/json" },
    signal: leave.signal,
  });
  held.catch(() => {});
  await expect.poll(() => engine.live).toBe(1);
  const refused = await post(url, '{"prompt":["a","b"]}');
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  expect((await post(url, '{"prompt":"a","n":3}')).status).toBe(400);
  leave.abort();
  await expect.poll(() => engine.live).toBe(0);
});
