/** Endings: finish reasons, usage, [DONE]. */
import { a, b, c, fine, whole, word } from "./pieces.ts";
import { chat, done, event, finish, type StreamScript, usage } from "./script.ts";

/** Scripts of this part. */
export const endings: readonly StreamScript[] = [
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
