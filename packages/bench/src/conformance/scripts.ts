/**
 * The conformance suite: what servers were seen to send, and what a client that counts tokens must make of it. Published
 * as data, so that other clients can be held against it; rules are those of docs/bench.md.
 */
import { chat, done, event, finish, type StreamScript, usage } from "./script.ts";

const word = (text: string): string => event(chat({ content: text }));
const [a, b, c] = [word("one "), word("two "), word("three")];
const ending = event(finish()) + event(usage(3)) + done;
const json = { "content-type": "application/json" };
const whole = a + b + c + ending;

/** Every byte a write of its own. */
const bytes = (text: string): readonly Buffer[] =>
  Array.from(Buffer.from(text), (byte) => Buffer.of(byte));

const cut = (text: string, at: number): readonly Buffer[] => {
  const all = Buffer.from(text);
  return [all.subarray(0, at), all.subarray(at)];
};

const fine = { status: "ok", tokens: 3, text: ["one two three"], finish: ["length"] } as const;

/** Framing: how events are cut out of bytes. */
const framing: readonly StreamScript[] = [
  {
    name: "plain",
    rule: "a stream is its chunks, usage and [DONE]",
    acts: [a, b, c, ending, "END"],
    expected: { ...fine, source: "usage", warnings: [] },
  },
  {
    name: "one-byte-writes",
    rule: "events may come in any pieces",
    acts: [...bytes(whole), "END"],
    expected: fine,
  },
  { name: "one-write", rule: "a read may bring many events", acts: [whole, "END"], expected: fine },
  {
    name: "crlf",
    rule: "lines may end with CR LF",
    acts: [whole.replaceAll("\n", "\r\n"), "END"],
    expected: fine,
  },
  {
    name: "cr",
    rule: "lines may end with CR",
    acts: [whole.replaceAll("\n", "\r"), "END"],
    expected: fine,
  },
  {
    name: "no-space",
    rule: "the blank after the colon is optional",
    acts: [whole.replaceAll("data: ", "data:"), "END"],
    expected: fine,
  },
  {
    name: "comments",
    rule: "comments are keep-alives, not events",
    acts: [": hello\n\n", a, ":\n\n", b, ": ping\n\n", c, ending, "END"],
    expected: { ...fine, warnings: [] },
  },
  {
    name: "data-keep-alive",
    rule: "empty data is a keep-alive, and worth a warning",
    acts: [a, "data: \n\n", b, c, ending, "END"],
    expected: { ...fine, warnings: ["data-keep-alive"] },
  },
  {
    name: "multi-line-data",
    rule: "data lines of one event are joined",
    acts: [
      a,
      b,
      'data: {"id":"c","choices":[{"index":0,\ndata: "delta":{"content":"three"}}]}\n\n',
      ending,
      "END",
    ],
    expected: fine,
  },
  {
    name: "other-fields",
    rule: "id, event and retry fields are let pass",
    acts: [`id: 4\nevent: message\nretry: 100\n${a}`, b, c, ending, "END"],
    expected: fine,
  },
  {
    name: "byte-order-mark",
    rule: "a leading byte order mark is dropped",
    acts: [`\uFEFF${whole}`, "END"],
    expected: fine,
  },
  {
    name: "split-utf8",
    rule: "a character may be cut between reads",
    acts: [
      ...cut(word("añb€"), word("añb€").indexOf("€") + 2),
      event(finish()),
      event(usage(1)),
      done,
      "END",
    ],
    expected: { status: "ok", tokens: 1, text: ["añb€"] },
  },
  {
    name: "line-separators",
    rule: "U+2028 does not end a line",
    acts: [word("a\u2028b"), event(finish()), event(usage(1)), done, "END"],
    expected: { status: "ok", text: ["a\u2028b"], tokens: 1 },
  },
  {
    name: "unterminated",
    rule: "a stream may forget its last blank line",
    acts: [whole.trimEnd(), "END"],
    expected: fine,
  },
];

/** Chunks: what is text, what is a token. */
const chunks: readonly StreamScript[] = [
  {
    name: "role-first",
    rule: "a role is not a token",
    acts: [
      event(chat({ role: "assistant", content: "" })),
      { pauseMs: 20 },
      a,
      b,
      c,
      ending,
      "END",
    ],
    expected: { ...fine, textAfterFirstEvent: true },
  },
  {
    name: "null-content",
    rule: "null content is no content",
    acts: [event(chat({ role: "assistant", content: null })), a, b, c, ending, "END"],
    expected: fine,
  },
  {
    name: "empty-chunks",
    rule: "empty chunks carry no token",
    acts: [a, word(""), b, word(""), c, ending, "END"],
    expected: { ...fine, chunkTokens: [1, 1, 1] },
  },
  {
    name: "multi-token",
    rule: "a chunk may carry several tokens",
    acts: [word("one two three"), event(finish()), event(usage(3)), done, "END"],
    expected: { ...fine, chunkTokens: [3] },
  },
  {
    name: "token-ids",
    rule: "ids in a chunk count best",
    acts: [
      event(chat({ content: "one two" }, { token_ids: [1, 2] })),
      event(chat({ content: " three" }, { token_ids: [3] })),
      event(finish()),
      event(usage(3)),
      done,
      "END",
    ],
    expected: { ...fine, source: "ids", chunkTokens: [2, 1] },
  },
  {
    name: "logprobs",
    rule: "logprobs count next best",
    acts: [
      event(chat({ content: "one two" }, { logprobs: { content: [{}, {}] } })),
      event(chat({ content: " three" }, { logprobs: { content: [{}] } })),
      event(finish()),
      done,
      "END",
    ],
    expected: { ...fine, source: "logprobs", chunkTokens: [2, 1] },
  },
  {
    name: "continuous-usage",
    rule: "running usage counts each chunk",
    acts: [
      event({ ...chat({ content: "one two" }), usage: { completion_tokens: 2 } }),
      event({ ...chat({ content: " three" }), usage: { completion_tokens: 3 } }),
      event(finish()),
      event(usage(3)),
      done,
      "END",
    ],
    expected: { ...fine, source: "continuous-usage", chunkTokens: [2, 1] },
  },
  {
    name: "chunks-alone",
    rule: "without anything better a chunk is taken for a token, and that is said",
    acts: [a, b, c, event(finish()), done, "END"],
    expected: { ...fine, source: "chunks", warnings: ["no-usage"] },
  },
  {
    name: "reasoning",
    rule: "reasoning is generated text",
    acts: [
      event(chat({ reasoning: "hm " })),
      event(chat({ reasoning: "hm " })),
      word("so"),
      event(finish()),
      event(usage(3, { completion_tokens_details: { reasoning_tokens: 2 } })),
      done,
      "END",
    ],
    expected: { status: "ok", tokens: 3, kinds: [1, 1, 0], reasoningTokens: 2 },
  },
  {
    name: "reasoning-content",
    rule: "reasoning has two names, and counts once under both",
    acts: [
      event(chat({ reasoning: "hm ", reasoning_content: "hm " })),
      word("so"),
      event(finish()),
      event(usage(2)),
      done,
      "END",
    ],
    askedTokens: 2,
    expected: { status: "ok", tokens: 2, kinds: [1, 0] },
  },
  {
    name: "tool-calls",
    rule: "arguments of a tool call are generated text",
    acts: [
      event(
        chat({
          tool_calls: [
            { index: 0, id: "t", type: "function", function: { name: "f", arguments: "" } },
          ],
        }),
      ),
      event(chat({ tool_calls: [{ index: 0, function: { arguments: '{"x":' } }] })),
      event(chat({ tool_calls: [{ index: 0, function: { arguments: "1}" } }] })),
      event(finish("tool_calls")),
      event(usage(3)),
      done,
      "END",
    ],
    expected: { status: "ok", tokens: 3, kinds: [2, 2, 2], finish: ["tool_calls"] },
  },
  {
    name: "refusal",
    rule: "a refusal is generated text",
    acts: [event(chat({ refusal: "no" })), event(finish("stop")), event(usage(1)), done, "END"],
    expected: { status: "ok", tokens: 1, kinds: [3] },
  },
  {
    name: "two-choices",
    rule: "choices interleave and are told apart",
    askedChoices: 2,
    acts: [
      event(chat({ content: "a " }, {}, 0)),
      event(chat({ content: "b " }, {}, 1)),
      event(chat({ content: "c" }, {}, 0)),
      event(chat({ content: "d" }, {}, 1)),
      event(finish("length", 0)),
      event(finish("length", 1)),
      event(usage(4)),
      done,
      "END",
    ],
    askedTokens: 2,
    expected: {
      status: "ok",
      tokens: 4,
      text: ["a c", "b d"],
      choices: [0, 1, 0, 1],
      finish: ["length", "length"],
    },
  },
  {
    name: "completions",
    rule: "completions carry text instead of deltas",
    api: "completions",
    acts: [
      event({ choices: [{ index: 0, text: "one " }] }),
      event({ choices: [{ index: 0, text: "two three", finish_reason: "length" }] }),
      event(usage(3)),
      done,
      "END",
    ],
    expected: { status: "ok", tokens: 3, text: ["one two three"] },
  },
];

/** Endings: finish reasons, usage, [DONE]. */
const endings: readonly StreamScript[] = [
  {
    name: "no-done",
    rule: "a finish reason without [DONE] is a success with a warning",
    acts: [a, b, c, event(finish()), event(usage(3)), "END"],
    expected: { ...fine, warnings: ["no-done"] },
  },
  {
    name: "finish-with-text",
    rule: "the finish reason may come with the last text",
    acts: [
      a,
      b,
      event(chat({ content: "three" }, { finish_reason: "length" })),
      event(usage(3)),
      done,
      "END",
    ],
    expected: fine,
  },
  {
    name: "null-choices",
    rule: "the usage chunk may have null choices",
    acts: [a, b, c, event(finish()), event({ ...usage(3), choices: null }), done, "END"],
    expected: fine,
  },
  {
    name: "missing-choices",
    rule: "or none at all",
    acts: [
      a,
      b,
      c,
      event(finish()),
      event({ usage: { prompt_tokens: 7, completion_tokens: 3 } }),
      done,
      "END",
    ],
    expected: fine,
  },
  {
    name: "cached-tokens",
    rule: "cached prompt tokens are kept",
    acts: [
      a,
      b,
      c,
      event(finish()),
      event(usage(3, { prompt_tokens_details: { cached_tokens: 5 } })),
      done,
      "END",
    ],
    expected: { ...fine, cachedTokens: 5 },
  },
  {
    name: "done-ends",
    rule: "[DONE] ends the stream though the connection stays open",
    acts: [whole, "SILENCE"],
    expected: fine,
  },
  {
    name: "data-after-done",
    rule: "what follows [DONE] does not count",
    acts: [whole + word("four"), "END"],
    expected: { ...fine, warnings: ["data-after-done"] },
  },
  {
    name: "short-length",
    rule: "length before the asked length is told",
    askedTokens: 9,
    acts: [whole, "END"],
    expected: { ...fine, warnings: ["short-length"] },
  },
  {
    name: "early-stop",
    rule: "a stop although ignore_eos was sent is told",
    askedTokens: 9,
    acts: [a, b, c, event(finish("stop")), event(usage(3)), done, "END"],
    expected: { status: "ok", warnings: ["early-stop"] },
  },
  {
    name: "over-length",
    rule: "more than was asked for is told",
    askedTokens: 2,
    acts: [whole, "END"],
    expected: { status: "ok", tokens: 3, warnings: ["over-length"] },
  },
];

/** Failures: after 200, before the stream, and never. */
const failures: readonly StreamScript[] = [
  {
    name: "error-event",
    rule: "an error in the stream fails the request whatever came before",
    acts: [
      a,
      b,
      event({ error: { message: "out of memory", type: "server_error", code: null } }),
      done,
      "END",
    ],
    expected: { status: "failed", error: "error-event", message: "out of memory" },
  },
  {
    name: "named-error-event",
    rule: "an error may be an event of its own",
    acts: [a, 'event: error\ndata: {"message":"gone"}\n\n', "END"],
    expected: { status: "failed", error: "error-event", message: "gone" },
  },
  {
    name: "error-field",
    rule: "old servers put errors in a field",
    acts: [a, 'error: {"message":"kaput"}\n\n', "END"],
    expected: { status: "failed", error: "error-event", message: "kaput" },
  },
  {
    name: "reset",
    rule: "a broken connection is a failure",
    acts: [a, b, { pauseMs: 20 }, "RESET"],
    expected: { status: "failed", error: "reset" },
  },
  {
    name: "reset-before-stream",
    rule: "also before the stream",
    status: 0,
    acts: ["RESET"],
    expected: { status: "failed", error: "reset-before-stream" },
  },
  {
    name: "incomplete",
    rule: "an end without a reason is not a success",
    acts: [a, b, "END"],
    expected: { status: "failed", error: "incomplete" },
  },
  {
    name: "no-tokens",
    rule: "an answer without a token is a failure",
    acts: [event(finish("stop")), event(usage(0)), done, "END"],
    expected: { status: "failed", error: "no-tokens" },
  },
  {
    name: "not-json",
    rule: "an event that is not JSON is a failure",
    acts: [a, "data: {broken\n\n", "END"],
    expected: { status: "failed", error: "protocol" },
  },
  {
    name: "json-reply",
    rule: "one JSON document is no stream",
    headers: json,
    acts: ['{"choices":[{"message":{"content":"hi"}}]}', "END"],
    expected: { status: "failed", error: "not-a-stream" },
  },
  {
    name: "html",
    rule: "a web page is no stream",
    headers: { "content-type": "text/html" },
    acts: ["<html><title>Welcome</title></html>", "END"],
    expected: { status: "failed", error: "html" },
  },
  {
    name: "rate-limited",
    rule: "429 keeps its Retry-After and is not tried again",
    status: 429,
    headers: { ...json, "retry-after": "3" },
    acts: ['{"error":{"message":"slow down"}}', "END"],
    expected: {
      status: "failed",
      error: "rate-limited",
      retryAfterSeconds: 3,
      message: "slow down",
    },
  },
  {
    name: "overloaded",
    rule: "503 is overload",
    status: 503,
    headers: json,
    acts: ['{"error":{"message":"loading"}}', "END"],
    expected: { status: "failed", error: "overloaded" },
  },
  {
    name: "overloaded-529",
    rule: "529 is overload",
    status: 529,
    headers: json,
    acts: ["{}", "END"],
    expected: { status: "failed", error: "overloaded" },
  },
  {
    name: "bad-request",
    rule: "400 keeps what the server said",
    status: 400,
    headers: json,
    acts: ['{"error":{"message":"min_tokens is unknown"}}', "END"],
    expected: { status: "failed", error: "bad-request", message: "min_tokens is unknown" },
  },
  {
    name: "unauthorized",
    rule: "401 is about the key",
    status: 401,
    headers: json,
    acts: ["{}", "END"],
    expected: { status: "failed", error: "unauthorized" },
  },
  {
    name: "not-found",
    rule: "404 is about path or model",
    status: 404,
    headers: json,
    acts: ["{}", "END"],
    expected: { status: "failed", error: "not-found" },
  },
  {
    name: "request-timeout",
    rule: "408 is the server's patience",
    status: 408,
    headers: json,
    acts: ["{}", "END"],
    expected: { status: "failed", error: "request-timeout" },
  },
  {
    name: "too-large",
    rule: "413 is about the prompt",
    status: 413,
    headers: json,
    acts: ["{}", "END"],
    expected: { status: "failed", error: "too-large" },
  },
  {
    name: "server-error",
    rule: "500 may come with plain text",
    status: 500,
    headers: { "content-type": "text/plain" },
    acts: ["it broke\nstack", "END"],
    expected: { status: "failed", error: "server-error", message: "it broke" },
  },
  {
    name: "bad-gateway",
    rule: "502 may come with a page",
    status: 502,
    headers: { "content-type": "text/html" },
    acts: ["<h1>Bad Gateway</h1>", "END"],
    expected: { status: "failed", error: "bad-gateway" },
  },
  {
    name: "gateway-timeout",
    rule: "504 is a gateway's patience",
    status: 504,
    acts: ["", "END"],
    expected: { status: "failed", error: "gateway-timeout" },
  },
  {
    name: "redirect",
    rule: "redirects are not followed",
    status: 307,
    headers: { location: "/elsewhere" },
    acts: ["", "END"],
    expected: { status: "failed", error: "redirect" },
  },
  {
    name: "silent",
    rule: "no text within the limit is a class of its own",
    timeouts: { firstToken: 0.1 },
    acts: [": open\n\n", "SILENCE"],
    expected: { status: "failed", error: "first-token-timeout" },
  },
  {
    name: "stalled",
    rule: "a stream that stops is a class of its own",
    timeouts: { idle: 0.1 },
    acts: [a, b, "SILENCE"],
    expected: { status: "failed", error: "idle-timeout" },
  },
  {
    name: "too-slow",
    rule: "and one that takes too long",
    timeouts: { total: 0.15 },
    acts: [a, { pauseMs: 60 }, b, { pauseMs: 60 }, c, "SILENCE"],
    expected: { status: "failed", error: "total-timeout" },
  },
];

/** All scripts. Names are unique. */
export const streamScripts: readonly StreamScript[] = [
  ...framing,
  ...chunks,
  ...endings,
  ...failures,
];
