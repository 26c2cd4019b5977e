/** JSON of users' files, with the place where a text stops being JSON: what the engine's own parser says of it differs. */
import { MillraceError } from "./errors.ts";
import { placeAt } from "./place.ts";

const literals = ["true", "false", "null"] as const;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const space = /[ \t\n\r]*/y;
const text =
  /"(?:[^"\\\p{Cc}\u2028\u2029]|[\u007f-\u009f\u2028\u2029]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/uy;

type Expected = "value" | "key" | "colon" | "end";

/** Index of the first character that no JSON text could have there; the text's length where only its end is missing. */
export function jsonErrorIndex(source: string): number {
  const open: ("{" | "[")[] = [];
  let at = 0;
  let expected: Expected = "value";
  /** Directly after an opening bracket its closing one may come. */
  let mayClose = false;
  const skip = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const found = pattern.exec(source);
    if (found !== null) at += found[0].length;
    return found !== null && found[0] !== "";
  };
  const string = () => {
    if (!skip(text) || source[at] !== '"') return false;
    at++;
    return true;
  };
  for (;;) {
    skip(space);
    const c = source[at];
    if (c === undefined) return at;
    const around = open.at(-1);
    if (expected === "value") {
      if (c === "{" || c === "[") {
        open.push(c);
        at++;
        expected = c === "{" ? "key" : "value";
        mayClose = true;
        continue;
      }
      if (c === "]" && around === "[" && mayClose) {
        open.pop();
        at++;
      } else if (c === '"') {
        if (!string()) return at;
      } else if (!skip(number)) {
        const literal = literals.find((one) => one.startsWith(c));
        if (literal === undefined) return at;
        let same = 0;
        while (same < literal.length && source[at + same] === literal[same]) same++;
        at += same;
        if (same < literal.length) return at;
      }
      expected = "end";
    } else if (expected === "key") {
      if (c === "}" && mayClose) {
        open.pop();
        at++;
        expected = "end";
      } else {
        if (c !== '"' || !string()) return at;
        expected = "colon";
      }
    } else if (expected === "colon") {
      if (c !== ":") return at;
      at++;
      expected = "value";
    } else {
      if (around === undefined) return at;
      if (c === ",") expected = around === "{" ? "key" : "value";
      else if (c === (around === "{" ? "}" : "]")) open.pop();
      else return at;
      at++;
    }
    mayClose = false;
  }
}

/** The value of a file's text. Throws MillraceError CONFIG_SYNTAX with line, column and what stands there. */
export function parseJson(source: string, file: string): unknown {
  const bare = source.replace(/^\ufeff/, "");
  try {
    return JSON.parse(bare);
  } catch (cause) {
    const index = jsonErrorIndex(bare);
    const word = /^-?(NaN|Infinity)/.exec(bare.slice(index, index + 20))?.[0];
    const found = word ?? bare[index];
    const what = found === undefined ? "the end of the file" : JSON.stringify(found);
    throw new MillraceError("CONFIG_SYNTAX", `not valid JSON: ${what} is unexpected here`, {
      at: placeAt(bare, file, index),
      cause,
      ...(word !== undefined && { hint: "JSON has no such number; leave the value out" }),
    });
  }
}
