import OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { type Script, scriptedEngine } from "./scripted-engine.conformance.ts";
import { createServer, type Server } from "./server.ts";

let server: Server | null = null;
afterEach(async () => {
  await server?.close();
  server = null;
});
async function start(script: Script = {}, options: Parameters<typeof createServer>[1] = {}) {
  const engine = scriptedEngine(script);
  server = createServer(engine, { port: 0, chatTemplate: "chatml", ...options });
  const url = await server.listen();
  const ai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "k", maxRetries: 0 });
  const post = (body: object) =>
    fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
    });
  const refusal = async (body: object) => {
    const response = await post(body);
    const { error } = (await response.json()) as {
      error: { message: string; param: string | null; code: string | null };
    };
    return { status: response.status, ...error };
  };
  const prompted = (i = 0) => Buffer.from(engine.requests[i].prompt).toString();
  return { engine, url, ai, post, refusal, prompted };
}
const hello = [{ role: "user" as const, content: "hi" }];
const weather = {
  type: "function" as const,
  function: {
    name: "weather",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const toolTemplate =
  "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>';

it("answers a chat through the template, with all content forms", async () => {
  const { ai, prompted, engine } = await start({ says: "fine" });
  const answer = await ai.chat.completions.create({
    model: "scripted",
    messages: [
      { role: "developer", content: "be brief" },
      {
        role: "user",
        content: [
          { type: "text", text: "how " },
          { type: "text", text: "are you" },
        ],
      },
      { role: "assistant", content: "?" },
      { role: "tool", tool_call_id: "1", content: "x" },
    ],
    n: 2,
    max_completion_tokens: 50,
  });
  expect(answer.object).toBe("chat.completion");
  expect(answer.choices.map((c) => [c.index, c.message.content, c.finish_reason])).toEqual([
    [0, "fine", "stop"],
    [1, "fine", "stop"],
  ]);
  expect(answer.usage).toMatchObject({ completion_tokens: 8, prompt_tokens: prompted().length });
  expect(prompted()).toBe(
    "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhow are you<|im_end|>\n<|im_start|>assistant\n?<|im_end|>\n<|im_start|>tool\nx<|im_end|>\n<|im_start|>assistant\n",
  );
  expect(engine.requests[0].sampling.seed).not.toBe(engine.requests[1].sampling.seed);
});

it("streams role, content, finish and usage in chunks of one id", async () => {
  const { ai } = await start({ says: "día" });
  const stream = await ai.chat.completions.create({
    model: "scripted",
    messages: hello,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  expect(new Set(chunks.map((c) => `${c.id} ${c.created} ${c.object}`)).size).toBe(1);
  expect(chunks[0].choices[0].delta).toEqual({ role: "assistant", content: "" });
  const deltas = chunks.flatMap((c) => c.choices);
  expect(deltas.map((c) => c.delta.content ?? "").join("")).toBe("día");
  expect(deltas.map((c) => c.finish_reason).filter(Boolean)).toEqual(["stop"]);
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 4 } });
  expect(chunks.slice(0, -1).every((c) => c.usage === null)).toBe(true);
});

it("gives logprobs with exact bytes, also for parts of a character", async () => {
  const { ai } = await start({ says: "é" });
  const answer = await ai.chat.completions.create({
    model: "scripted",
    messages: hello,
    logprobs: true,
    top_logprobs: 1,
  });
  const content = answer.choices[0].logprobs?.content ?? [];
  expect(content.map((one) => one.bytes)).toEqual([[0xc3], [0xa9]]);
  expect(content[0]).toMatchObject({ logprob: -0.5, top_logprobs: [{ bytes: [0xc3] }] });
});

describe("tools", () => {
  it("come back as calls, whole and streamed", async () => {
    const { ai, prompted } = await start(
      { says: `Let me see. ${call}` },
      { chatTemplate: toolTemplate },
    );
    const ask = { model: "scripted", messages: hello, tools: [weather] };
    const whole = await ai.chat.completions.create(ask);
    expect(prompted()).toContain('"name": "weather"');
    expect(whole.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: {
        content: "Let me see.",
        tool_calls: [
          { type: "function", function: { name: "weather", arguments: '{"city": "Rome"}' } },
        ],
      },
    });
    const runner = ai.chat.completions.stream({ ...ask, stream: true });
    const final = await runner.finalChatCompletion();
    expect(final.choices[0].finish_reason).toBe("tool_calls");
    expect(final.choices[0].message.tool_calls?.[0]).toMatchObject({
      function: { name: "weather", arguments: '{"city": "Rome"}' },
    });
  });

  it("are forced by a grammar, left out, or kept to one call", async () => {
    const { post, engine, prompted } = await start(
      { says: `${call}\n${call}` },
      { chatTemplate: toolTemplate },
    );
    const ask = async (more: object) =>
      (await (await post({ messages: hello, tools: [weather], ...more })).json()) as {
        choices: { message: { tool_calls?: object[]; content: string }; finish_reason: string }[];
      };
    expect((await ask({})).choices[0].message.tool_calls).toHaveLength(2);
    expect(engine.requests[0].grammar).toBeNull();
    await ask({ tool_choice: "required" });
    expect(engine.requests[1].grammar).toContain("weather");
    await ask({ tool_choice: { type: "function", function: { name: "weather" } } });
    expect(engine.requests[2].grammar).toContain("weather");
    const none = await ask({ tool_choice: "none" });
    expect(none.choices[0].message.content).toContain("<tool_call>");
    expect(prompted(3)).not.toContain("weather");
    const one = await ask({ parallel_tool_calls: false });
    expect(one.choices[0].message.tool_calls).toHaveLength(1);
    await ask({ response_format: { type: "json_object" } });
    expect(engine.requests[5].grammar).toContain("root ::= g0-root | g1-root");
  });

  it("are refused where they make no sense", async () => {
    const { refusal } = await start();
    const bad: [object, string][] = [
      [{ tool_choice: "required" }, "tool_choice"],
      [{ tools: [weather, weather] }, "tools"],
      [
        { tools: [weather], tool_choice: { type: "function", function: { name: "x" } } },
        "tool_choice",
      ],
      [{ tools: [weather], grammar: 'root ::= "a"' }, "grammar"],
      [{ functions: [] }, "functions"],
    ];
    for (const [more, param] of bad)
      expect(await refusal({ messages: hello, ...more })).toMatchObject({ status: 400, param });
  });
});

it("keeps reasoning apart from the answer", async () => {
  const says = "<think>\nhm, so\n</think>\n\nYes.";
  const template = `${toolTemplate}{# <think> #}`;
  const { ai, post } = await start({ says }, { chatTemplate: template });
  const whole = await ai.chat.completions.create({ model: "scripted", messages: hello });
  expect(whole.choices[0].message).toMatchObject({ content: "Yes.", reasoning_content: "hm, so" });
  expect(whole.usage?.completion_tokens_details?.reasoning_tokens).toBeGreaterThan(6);
  const stream = await ai.chat.completions.create({
    model: "scripted",
    messages: hello,
    stream: true,
  });
  let [reasoning, content] = ["", ""];
  for await (const chunk of stream) {
    const delta = chunk.choices[0]?.delta as { reasoning_content?: string; content?: string };
    reasoning += delta.reasoning_content ?? "";
    content += delta.content ?? "";
  }
  expect([reasoning, content]).toEqual(["hm, so", "Yes."]);
  const plain = await post({ messages: hello, reasoning_format: "none" });
  expect(JSON.stringify(await plain.json())).toContain("<think>");
});

it("knows reasoning that the prompt has opened, also before a forced form", async () => {
  const { post, engine } = await start(
    { says: "hm</think>{}" },
    { chatTemplate: `${toolTemplate}{% if add_generation_prompt %}<think>\n{% endif %}` },
  );
  const response = await post({ messages: hello, response_format: { type: "json_object" } });
  expect(await response.json()).toMatchObject({
    choices: [{ message: { content: "{}", reasoning_content: "hm" } }],
  });
  expect(engine.requests[0].grammar).toContain("root ::= reasoning");
});

it("turns every form of the answer into a grammar, and takes one only", async () => {
  const { post, engine, refusal } = await start({ says: "{}" });
  const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
  const forms: [object, string][] = [
    [
      {
        response_format: { type: "json_schema", json_schema: { name: "x", strict: true, schema } },
      },
      "root ::= ",
    ],
    [{ response_format: { type: "json_object" } }, "root ::= "],
    [{ guided_json: JSON.stringify(schema) }, '"\\"a\\":"'],
    [{ json_schema: schema }, '"\\"a\\":"'],
    [{ guided_regex: "^[ab]{2}$" }, "[a-b]"],
    [{ guided_choice: ["yes", "no"] }, '("yes" | "no")'],
    [{ structured_outputs: { choice: ["yes"] } }, '"yes"'],
    [{ guided_grammar: 'root ::= "x"' }, 'root ::= "x"'],
  ];
  for (const [i, [form, part]] of forms.entries()) {
    expect((await post({ messages: hello, ...form })).status).toBe(200);
    expect(engine.requests[i].grammar).toContain(part);
  }
  const unsupported = { type: "json_schema", json_schema: { name: "x", schema: { not: {} } } };
  expect(await refusal({ messages: hello, response_format: unsupported })).toMatchObject({
    status: 400,
    param: "response_format",
    message: expect.stringContaining("not"),
  });
  const loose = structuredClone(unsupported) as { json_schema: { strict?: boolean } };
  loose.json_schema.strict = false;
  const warned = await post({ messages: hello, response_format: loose });
  expect([warned.status, warned.headers.get("x-millrace-warning")]).toEqual([
    200,
    expect.stringContaining("not enforced"),
  ]);
  expect(
    await refusal({ messages: hello, guided_regex: "a", response_format: { type: "json_object" } }),
  ).toMatchObject({ status: 400, param: "response_format" });
});

it("refuses grammars that could take the engine down, and all of clients where it is told to", async () => {
  const huge = `root ::= ${"(".repeat(300)}"a"${")".repeat(300)}`;
  const open = await start();
  expect(await open.refusal({ messages: hello, grammar: huge })).toMatchObject({
    status: 400,
    param: "grammar",
    code: "grammar_invalid",
  });
  const wide = { enum: Array.from({ length: 50_000 }, (_, i) => `value ${i}`) };
  expect(await open.refusal({ messages: hello, guided_json: wide })).toMatchObject({ status: 400 });
  await server?.close();
  const shut = await start({}, { ownGrammars: false });
  expect(await shut.refusal({ messages: hello, grammar: 'root ::= "a"' })).toMatchObject({
    status: 400,
    param: "grammar",
  });
  expect((await shut.post({ messages: hello, guided_choice: ["a"] })).status).toBe(200);
});

it("continues a final message of the assistant", async () => {
  const { post, prompted } = await start({ says: "x" });
  const messages = [...hello, { role: "assistant", content: "The answer is " }];
  await post({ messages, continue_final_message: true });
  expect(prompted().endsWith("<|im_start|>assistant\nThe answer is ")).toBe(true);
  await post({ messages: hello, add_generation_prompt: false });
  expect(prompted(1).endsWith("<|im_end|>\n")).toBe(true);
});

it("refuses what it cannot do, naming the place", async () => {
  const { refusal } = await start();
  const image = {
    role: "user",
    content: [
      { type: "text", text: "a" },
      { type: "image_url", image_url: { url: "data:" } },
    ],
  };
  const bad: [object, string | null, string][] = [
    [{ messages: [...hello, image] }, "messages[1].content[1]", "image_url"],
    [{ messages: [{ role: "clown", content: "x" }] }, "messages[0].role", "clown"],
    [{ messages: [{ role: "user" }] }, "messages[0].content", "missing"],
    [{ messages: [] }, "messages", "too small"],
    [{}, "messages", "expected array"],
    [{ messages: hello, top_logprobs: 2 }, "top_logprobs", "logprobs"],
    [{ messages: hello, stream_options: {} }, "stream_options", "stream"],
    [{ messages: hello, modalities: ["audio"] }, "modalities", "audio"],
    [{ messages: hello, chat_template: "x" }, "chat_template", "--chat-template"],
    [{ messages: hello, continue_final_message: true }, "continue_final_message", "assistant"],
    [{ messages: hello, max_tokens: 100_000 }, "messages", "100000"],
    [{ messages: hello, max_tokens: 3, min_tokens: 4 }, "min_tokens", "at most 3"],
  ];
  for (const [body, param, word] of bad) {
    const refused = await refusal(body);
    expect(refused).toMatchObject({ status: 400, param });
    expect(refused.message).toContain(word);
  }
});

it("says how to give a template where the model has none, or a broken one", async () => {
  const none = await start({}, { chatTemplate: null });
  expect(await none.refusal({ messages: hello })).toMatchObject({
    status: 400,
    code: "no_chat_template",
    message: expect.stringContaining("--chat-template"),
  });
  await server?.close();
  const broken = await start({ card: { chatTemplate: "{% if %}" } }, { chatTemplate: null });
  expect((await broken.refusal({ messages: hello })).message).toContain("--chat-template");
  expect(() => createServer(scriptedEngine(), { chatTemplate: "{% if %}" })).toThrow("parsed");
});
