import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { type Script, scriptedEngine } from "./scripted-engine.conformance.ts";
import { createServer, type Server } from "./server.ts";

let server: Server | null = null;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server?.close();
  server = null;
});
async function start(script: Script = {}, options: Parameters<typeof createServer>[1] = {}) {
  const engine = scriptedEngine(script);
  server = createServer(engine, { port: 0, ...options });
  const url = await server.listen();
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(url + path, {
      method: "POST",
      body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body),
      headers: { "content-type": "application/json", ...headers },
    });
  const refused = async (response: Response) => {
    const { error } = (await response.json()) as { error: { message: string; code: string } };
    expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
    return [response.status, error.code, error.message] as const;
  };
  return { engine, url, post, refused };
}
/** Sends bytes as they are; collects what comes back until the end, or until `until` is there. */
function raw(url: string, text: string) {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  sockets.push(socket);
  let got = "";
  socket.setEncoding("latin1");
  socket.on("data", (part: string) => {
    got += part;
  });
  socket.on("error", () => {});
  socket.write(text);
  return {
    socket,
    has: (word: string) => expect.poll(() => got, { timeout: 5000 }).toContain(word),
    got: () => got.replace(/[0-9a-f]+\r\n|\r\n/g, ""),
    ended: new Promise<string>((resolve) => socket.once("close", () => resolve(got))),
  };
}
const head = (path: string, length: number, more = "") =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n${more}\r\n`;

describe("malformed requests", () => {
  it("in HTTP itself get 400 in the API's shape", async () => {
    const { url } = await start();
    for (const text of [
      "GARBAGE\r\n\r\n",
      "GET /health HTTP/1.1\r\n\r\n",
      "BREW /v1 HTTP/1.1\r\nhost: x\r\n\r\n",
    ]) {
      const answer = await raw(url, text).ended;
      expect(answer).toContain("HTTP/1.1 400");
    }
    const overflow = await raw(url, `GET / HTTP/1.1\r\nhost: x\r\nx: ${"a".repeat(20_000)}\r\n\r\n`)
      .ended;
    expect(overflow).toContain("HTTP/1.1 431");
    expect(overflow).toContain('"error"');
  });

  it("in their bodies get 400 with the place, 413 or 415", async () => {
    const { post, refused, url } = await start({}, { maxBodyBytes: 500 });
    const path = "/v1/completions";
    const broken: [string | Uint8Array, string][] = [
      ['{"prompt": "a",\n "n": 1,}', "line 2, column 9"],
      ['{"prompt": tru}', "column 15"],
      ['{"prompt": "a"', "ends too early"],
      ['{"a":01}', "column 7"],
      ['{"a":"\n"}', "line 1, column 7"],
      ["", "empty"],
      ["[]", "must be a JSON object"],
      ["null", "must be a JSON object"],
      [Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d), "byte 2"],
      [`{"prompt":${"[".repeat(200)}${"]".repeat(200)}}`, "deep"],
    ];
    for (const [body, word] of broken) {
      const [status, code, message] = await refused(await post(path, body));
      expect([status, code]).toEqual([400, "invalid_json"]);
      expect(message).toContain(word);
    }
    expect((await refused(await post(path, "x".repeat(501))))[0]).toBe(413);
    const chunked = raw(
      url,
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n400\r\n${"x".repeat(1024)}\r\n`,
    );
    await chunked.has("413");
    for (const [type, encoding] of [
      ["text/plain", undefined],
      ["application/json", "gzip"],
    ] as const) {
      const headers = { "content-type": type, ...(encoding && { "content-encoding": encoding }) };
      expect((await refused(await post(path, "{}", headers)))[0]).toBe(415);
    }
  });

  it("in path or method get 404 and 405", async () => {
    const { url, refused } = await start();
    expect((await refused(await fetch(`${url}/v1/nothing`)))[0]).toBe(404);
    const wrong = await fetch(`${url}/v1/chat/completions`, { method: "DELETE" });
    expect(wrong.headers.get("allow")).toBe("POST");
    expect((await refused(wrong))[0]).toBe(405);
    const options = await fetch(`${url}/v1/models`, { method: "OPTIONS" });
    expect([options.status, options.headers.get("allow")]).toEqual([204, "GET, HEAD, OPTIONS"]);
    const headed = await fetch(`${url}/health`, { method: "HEAD" });
    expect([headed.status, await headed.text()]).toEqual([200, ""]);
  });
});

describe("access", () => {
  it("needs a key everywhere but on health and readiness", async () => {
    const { url, post } = await start({}, { apiKeys: ["good", "other"] });
    for (const path of ["/v1/models", "/metrics", "/version", "/nowhere"]) {
      expect((await fetch(url + path)).status).toBe(401);
      expect((await fetch(url + path, { headers: { authorization: "Bearer goo" } })).status).toBe(
        401,
      );
    }
    for (const path of ["/health", "/ready"]) expect((await fetch(url + path)).status).toBe(200);
    for (const headers of [{ authorization: "Bearer other" }, { "x-api-key": "good" }])
      expect((await post("/v1/completions", { prompt: "a" }, headers)).status).toBe(200);
  });

  it("lets pages of allowed origins call", async () => {
    const { url, post } = await start({}, { corsOrigins: ["https://a.example"], apiKeys: ["k"] });
    const preflight = (origin: string) =>
      fetch(`${url}/v1/completions`, {
        method: "OPTIONS",
        headers: { origin, "access-control-request-headers": "authorization,x-stainless-os" },
      });
    const good = await preflight("https://a.example");
    expect(good.status).toBe(204);
    expect(good.headers.get("access-control-allow-origin")).toBe("https://a.example");
    expect(good.headers.get("access-control-allow-headers")).toContain("x-stainless-os");
    expect(
      (await preflight("https://b.example")).headers.get("access-control-allow-origin"),
    ).toBeNull();
    const refused = await post("/v1/completions", {}, { origin: "https://a.example" });
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([
      401,
      "https://a.example",
    ]);
  });

  it("keeps request ids that are fit, and makes others", async () => {
    const { url } = await start();
    const id = async (given: string) =>
      (await fetch(`${url}/health`, { headers: { "x-request-id": given } })).headers.get(
        "x-request-id",
      );
    expect(await id("abc-1")).toBe("abc-1");
    expect(await id("has spaces")).toMatch(/^req-/);
  });

  it("switches the scheduler for the administrator only", async () => {
    const local = await start();
    const ask = { type: "vllm-v1", parameters: { chunkSize: 64 } };
    expect(await (await local.post("/admin/scheduler", ask)).json()).toEqual({ type: "vllm-v1" });
    expect(await (await fetch(`${local.url}/admin/scheduler`)).json()).toEqual({ type: "vllm-v1" });
    const proxied = await local.post("/admin/scheduler", ask, { "x-forwarded-for": "1.2.3.4" });
    expect((await local.refused(proxied))[0]).toBe(403);
    const rebound = httpRequest(`${local.url}/admin/scheduler`, {
      headers: { host: "evil.example" },
    });
    rebound.end();
    const status = await new Promise((resolve) =>
      rebound.once("response", (r) => resolve(r.resume().statusCode)),
    );
    expect(status).toBe(403);
    await server?.close();
    const keyed = await start({}, { apiKeys: ["user"], adminKeys: ["admin"] });
    for (const [key, expected] of [
      ["user", 401],
      ["admin", 200],
    ] as const) {
      const answer = await keyed.post("/admin/scheduler", ask, { authorization: `Bearer ${key}` });
      expect(answer.status).toBe(expected);
    }
  });
});

describe("clients that leave", () => {
  it("free the engine at every stage", async () => {
    const { url, engine } = await start({ hangAfter: 3, card: { embeddings: true } });
    const body = '{"prompt":"a","stream":true,"max_tokens":90000}';
    // In the middle of the body.
    raw(url, head("/v1/completions", 100) + body.slice(0, 10)).socket.end();
    // While tokens come, streamed.
    const streaming = raw(url, head("/v1/completions", body.length) + body);
    await streaming.has("data: ");
    await expect.poll(() => engine.live).toBe(1);
    streaming.socket.destroy();
    await expect.poll(() => engine.live).toBe(0);
    // While a whole answer is awaited, n = 3.
    const whole = '{"prompt":"a","n":3,"max_tokens":90000}';
    const waiting = raw(url, head("/v1/completions", whole.length) + whole);
    await expect.poll(() => engine.live).toBe(3);
    waiting.socket.destroy();
    await expect.poll(() => engine.live).toBe(0);
  });

  it("cancel embeddings", async () => {
    const { url, engine } = await start({ hangAfter: 0, card: { embeddings: true } });
    const body = '{"input":"a"}';
    const waiting = raw(url, head("/v1/embeddings", body.length) + body);
    await expect.poll(() => engine.live).toBe(1);
    waiting.socket.destroy();
    await expect.poll(() => engine.live).toBe(0);
  });

  it("or take nothing lose their stream, and memory stays bounded", async () => {
    const { url, engine } = await start({}, { maxPendingBytes: 20_000 });
    const body = '{"prompt":"a","stream":true,"max_tokens":99000}';
    const lazy = raw(url, head("/v1/completions", body.length) + body);
    lazy.socket.pause();
    await expect.poll(() => engine.live).toBe(1);
    await expect.poll(() => engine.live, { timeout: 30_000 }).toBe(0);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain("millrace_slow_readers_total 1");
  }, 40_000);
});

it("keeps silent streams open with comments or empty chunks where it is told to", async () => {
  for (const [keepAlive, sign] of [
    ["comment", "\n\n:\n\n"],
    ["chunk", '"choices":[]'],
  ] as const) {
    const { url } = await start({ hangAfter: 2 }, { keepAlive, keepAliveSeconds: 0.01 });
    const body = '{"prompt":"a","stream":true}';
    const waiting = raw(url, head("/v1/completions", body.length) + body);
    await waiting.has('"text":"h"');
    await expect.poll(waiting.got).toContain(sign);
    await server?.close();
  }
});

describe("draining", () => {
  const ask = { prompt: "a", stream: true, max_tokens: 300 };

  it("refuses what is new, lets streams end, then closes", async () => {
    const { url, post, refused } = await start();
    const stream = await post("/v1/completions", ask);
    const drained = server?.drain(30);
    const late = await post("/v1/completions", ask);
    expect([late.headers.get("connection"), late.headers.get("retry-after")]).toEqual([
      "close",
      "5",
    ]);
    expect(await refused(late)).toEqual([503, "draining", expect.stringContaining("draining")]);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect((await fetch(`${url}/ready`)).status).toBe(503);
    const text = await stream.text();
    expect(text).toContain('"finish_reason":"length"');
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    await drained;
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  });

  it("ends what takes longer with an error, streamed and whole", async () => {
    const { post, refused, engine } = await start({ hangAfter: 5 });
    const stream = await post("/v1/completions", ask);
    const whole = post("/v1/completions", { prompt: "a", max_tokens: 300 });
    await expect.poll(() => engine.live).toBe(2);
    const drained = server?.drain(0.05);
    const text = await stream.text();
    expect(text).toContain('"code":"cancelled"');
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect((await refused(await whole)).slice(0, 2)).toEqual([503, "cancelled"]);
    await drained;
  });
});

it("counts a deadline from the arrival of the request", async () => {
  const { engine, post, refused } = await start();
  const passed = await post("/v1/completions", { prompt: "a", deadline_ms: 1e-3 });
  expect((await refused(passed)).slice(0, 2)).toEqual([504, "deadline_exceeded"]);
  expect(engine.requests).toHaveLength(0);
  await (await post("/v1/completions", { prompt: "a", deadline_ms: 60_000 })).text();
  expect(engine.requests[0].deadlineSeconds).toBeLessThan(60);
  const wrong = await post("/v1/completions", { prompt: "a" }, { "x-deadline-ms": "soon" });
  expect((await refused(wrong))[0]).toBe(400);
});

it("embeds texts and tokens, as floats and base64", async () => {
  const { url, post } = await start({ card: { embeddings: true } });
  const ai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "k", maxRetries: 0 });
  const answer = await ai.embeddings.create({ model: "scripted", input: ["a", "bcd"] });
  expect(answer.data.map((one) => one.embedding)).toEqual([
    [1, 0.5],
    [3, 0.5],
  ]);
  expect(answer.usage).toEqual({ prompt_tokens: 4, total_tokens: 4 });
  const floats = await post("/v1/embeddings", { input: [1, 2], encoding_format: "float" });
  expect(await floats.json()).toMatchObject({ data: [{ embedding: [2, 0.5] }] });
  for (const more of [
    { dimensions: 1 },
    { input: "" },
    { input: [300] },
    { input: "x".repeat(100_001) },
  ])
    expect((await post("/v1/embeddings", { input: "a", ...more })).status).toBe(400);
  await server?.close();
  const none = await start();
  expect(
    (await none.refused(await none.post("/v1/embeddings", { input: "a" }))).slice(0, 2),
  ).toEqual([400, "embeddings_unsupported"]);
});

it("tokenizes and detokenizes in the shapes of vLLM and llama.cpp", async () => {
  const { post, refused } = await start({}, { chatTemplate: "chatml" });
  const ask = async (path: string, body: object) => (await post(path, body)).json();
  expect(await ask("/tokenize", { prompt: "hé", return_token_strs: true })).toEqual({
    count: 3,
    max_model_len: 100_000,
    tokens: [104, 0xc3, 0xa9],
    token_strs: ["h", "\ufffd", "\ufffd"],
  });
  expect(await ask("/tokenize", { content: "é", with_pieces: true })).toMatchObject({
    tokens: [
      { id: 0xc3, piece: [0xc3] },
      { id: 0xa9, piece: [0xa9] },
    ],
  });
  const chat = { messages: [{ role: "user", content: "hi" }], add_generation_prompt: false };
  expect(await ask("/tokenize", chat)).toMatchObject({
    count: "<|im_start|>user\nhi<|im_end|>\n".length,
  });
  expect(await ask("/detokenize", { tokens: [104, 105] })).toEqual({ prompt: "hi", content: "hi" });
  for (const [path, body] of [
    ["/tokenize", {}],
    ["/tokenize", { prompt: "a", content: "b" }],
    ["/detokenize", { tokens: [256] }],
    ["/detokenize", { tokens: ["a"] }],
  ] as const)
    expect((await refused(await post(path, body)))[0]).toBe(400);
});

it("tells its models and version", async () => {
  const { url } = await start({ card: { name: "org/tiny" } }, { modelAliases: ["default"] });
  const ai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "k", maxRetries: 0 });
  const listed = await ai.models.list();
  expect(listed.data.map((one) => one.id)).toEqual(["org/tiny", "default"]);
  expect((await ai.models.retrieve("org/tiny")).id).toBe("org/tiny");
  expect((await fetch(`${url}/v1/models/org/tiny`)).status).toBe(200);
  await expect(ai.models.retrieve("other")).rejects.toThrow("404");
  await expect(ai.completions.create({ model: "gpt-4", prompt: "a" })).rejects.toThrow(
    "org/tiny is",
  );
  expect(await (await fetch(`${url}/version`)).json()).toMatchObject({
    version: expect.stringMatching(/^\d+\./),
  });
});
