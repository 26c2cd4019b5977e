/** Whatever a client sends, it gets an answer below 500, and the engine is free afterwards. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ScriptedEngine, scriptedEngine } from "./scripted-engine.conformance.ts";
import { createServer, type Server } from "./server.ts";

let server: Server;
let engine: ScriptedEngine;
let url: string;
beforeAll(async () => {
  engine = scriptedEngine({
    says: 'x <tool_call>{"name":"f","arguments":{}}',
    card: { embeddings: true },
  });
  const chatTemplate =
    "{% for m in messages %}{{ m.role }}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}{% endfor %}{{ tools | tojson }}<think>";
  server = createServer(engine, { port: 0, chatTemplate });
  url = await server.listen();
});
afterAll(() => server.close());

const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };
const schema = { type: "object", properties: { a: { enum: [1, "b"] } } };
const g = { ...tool, function: { name: "g", strict: true, parameters: schema } };
const allowed = { mode: "required", tools: [{ function: { name: "f" } }] };
const calls = [{ function: { name: "f", arguments: "{" } }];
/** Values of a field: those that work mostly, and those that never should. */
const fields: Readonly<
  Record<string, readonly [good: readonly unknown[], bad: readonly unknown[]]>
> = {
  messages: [
    [
      [{ role: "user", content: "hi" }],
      [
        { role: "user", content: [{ type: "text", text: "a" }] },
        { role: "assistant", content: null, tool_calls: calls },
      ],
      [{ role: "assistant", content: "\u0000\ud800" }],
    ],
    [[{ role: "user", content: [{ type: "image_url" }] }], []],
  ],
  prompt: [
    ["a", ["a", "b"], [1, 2], [[1], [2, 3]]],
    [[256], "", [], [[]], [1, "a"]],
  ],
  input: [
    ["a", ["a", "b"], [1, 2], [[1], [2, 3]]],
    [[256], "", [], [[]], [-1]],
  ],
  tokens: [
    [[1, 2], []],
    [[300], "a"],
  ],
  type: [["vllm-v1"], [""]],
  n: [
    [1, 3],
    [0, 1e9],
  ],
  max_tokens: [
    [1, 30],
    [0, 1e9],
  ],
  max_completion_tokens: [[1, 30], [-1]],
  min_tokens: [[0, 1], [1e9]],
  stream: [[true, true, false], ["yes"]],
  stream_options: [
    [{ include_usage: true }, { continuous_usage_stats: true, include_timings: true }],
    [{ include_usage: 1 }],
  ],
  tools: [
    [[tool], [tool, g], []],
    [[tool, tool], [{}]],
  ],
  tool_choice: [
    ["none", "auto", "required", { type: "allowed_tools", allowed_tools: allowed }],
    [{ type: "function", function: { name: "zzz" } }, "maybe"],
  ],
  response_format: [
    [{ type: "json_object" }, { type: "json_schema", json_schema: { name: "a", schema } }],
    [{ type: "json_schema" }, { type: "json_object", schema: { not: {} } }],
  ],
  guided_regex: [
    ["a{1,3}", "^$", "x|y"],
    ["(", "(a*)*", "\\b"],
  ],
  guided_choice: [[["a", "b"]], [[""], []]],
  guided_json: [
    [schema, JSON.stringify(schema)],
    ["{", { type: "x" }],
  ],
  structured_outputs: [[{ regex: "[a-z]" }, { json_object: false }], [{ json: 5 }]],
  logprobs: [[0, 3, true, false], [21]],
  top_logprobs: [[0, 5], [21]],
  logit_bias: [[{ 5: 1 }], [{ x: 1 }, { 5: 101 }]],
  stop: [
    ["q", ["a", "b"]],
    ["", [1]],
  ],
  stop_token_ids: [[[1]], [[-1], [999]]],
  seed: [[0, -5, 2 ** 53 - 1], [0.5]],
  temperature: [
    [0, 1],
    [-1, 1e308],
  ],
  top_p: [[0, 1], [2]],
  echo: [[true], [5]],
  suffix: [[""], ["x"]],
  priority: [[0, 5], [2 ** 40]],
  deadline_ms: [[1e11], [0]],
  chat_template_kwargs: [[{ messages: null, tools: 5, enable_thinking: false }], [1]],
  continue_final_message: [[false], [true]],
  add_generation_prompt: [[true, false], [1]],
  parallel_tool_calls: [[false], [1]],
  reasoning_format: [["none"], ["x"]],
  encoding_format: [["base64", "float"], ["int8"]],
  dimensions: [[null], [5]],
  with_pieces: [[true], [5]],
  return_token_strs: [[true], [5]],
  return_token_ids: [[true], [5]],
  parameters: [[{}], [5]],
};
const first: Readonly<Record<string, string>> = {
  "/v1/chat/completions": "messages",
  "/v1/completions": "prompt",
  "/v1/embeddings": "input",
  "/tokenize": "prompt",
  "/detokenize": "tokens",
  "/admin/scheduler": "type",
};
const path = fc.constantFrom(
  ...["/v1/chat/completions", "/v1/chat/completions", "/v1/completions", "/v1/completions"],
  ...Object.keys(first),
);

function member(key: string) {
  const [good, bad] = fields[key] ?? [[], []];
  const value = fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom(...good) },
    { weight: 1, arbitrary: fc.constantFrom(...bad) },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  );
  return fc.tuple(fc.constant(key), value);
}
const others = fc.constantFrom(...Object.keys(fields).slice(5)).chain(member);
const body = (to: string) =>
  fc
    .tuple(member(first[to] ?? ""), fc.array(others, { maxLength: 4 }))
    .map(([main, more]) => JSON.stringify(Object.fromEntries([...more, main])));
/** Bodies with a piece cut out, doubled or replaced. */
const broken = (to: string) =>
  fc
    .tuple(body(to), fc.nat(), fc.nat(8), fc.string({ unit: "binary", maxLength: 6 }))
    .map(([text, at, length, other]) => {
      const from = at % (text.length + 1);
      return text.slice(0, from) + other + text.slice(from + length);
    });

it("answers every body below 500, streams to their end, and leaves nothing running", async () => {
  await fc.assert(
    fc.asyncProperty(
      path.chain((to) =>
        fc.tuple(
          fc.constant(to),
          fc.oneof(
            { weight: 8, arbitrary: body(to) },
            { weight: 1, arbitrary: broken(to) },
            { weight: 1, arbitrary: fc.json() },
          ),
        ),
      ),
      async ([to, sent]) => {
        const response = await fetch(url + to, {
          method: "POST",
          body: sent,
          headers: { "content-type": "application/json" },
          signal: AbortSignal.timeout(10_000),
        });
        const text = await response.text();
        const streamed = response.headers.get("content-type")?.startsWith("text/event-stream");
        if (streamed === true) {
          expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
          for (const event of text.trimEnd().split("\n\n").slice(0, -1)) {
            const value = JSON.parse(event.replace(/^data: /, ""));
            expect(value.error?.type ?? "none").not.toBe("server_error");
          }
        } else {
          const value = JSON.parse(text);
          if (response.status >= 400)
            expect(Object.keys(value.error).sort()).toEqual(["code", "message", "param", "type"]);
          // A deadline that has passed is the one answer above 500 that is the client's own.
          expect(response.status === 504 ? value.error.code : response.status < 500).toSatisfy(
            (good) => good === true || good === "deadline_exceeded",
          );
        }
        await expect.poll(() => engine.live).toBe(0);
      },
    ),
    { numRuns: 400 },
  );
}, 60_000);

it("answers any method, path and headers that HTTP lets through", async () => {
  const token = fc.stringMatching(/^[a-zA-Z0-9/%._~:?#@!$&'()*+,;=-]{0,30}$/);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"),
      token,
      fc.stringMatching(/^[\x20-\x7e]{0,40}$/),
      async (method, rest, header) => {
        const response = await fetch(`${url}/${rest}`, {
          method,
          headers: {
            "x-request-id": header,
            authorization: header,
            "content-type": header || "a/b",
          },
          ...(method === "POST" ? { body: header } : {}),
          signal: AbortSignal.timeout(10_000),
        });
        await response.text();
        expect(response.status).toBeLessThan(500);
      },
    ),
    { numRuns: 150 },
  );
}, 30_000);
