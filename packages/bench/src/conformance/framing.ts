/** Framing: how events are cut out of bytes. */
import { a, b, bytes, c, cut, ending, fine, whole, word } from "./pieces.ts";
import { done, event, finish, type StreamScript, usage } from "./script.ts";

/** Scripts of this part. */
export const framing: readonly StreamScript[] = [
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
