/** Chunks: what is text, what is a token. */
import { a, b, c, ending, fine, word } from "./pieces.ts";
import { chat, done, event, finish, type StreamScript, usage } from "./script.ts";

/** Scripts of this part. */
export const chunks: readonly StreamScript[] = [
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
