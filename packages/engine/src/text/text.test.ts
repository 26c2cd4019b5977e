import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type EndRules, Output, StopMatcher, type TokenTexts, Utf8Stream } from "./index.ts";

/** Cuts `items` at the given places, which are taken modulo its length. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [...new Set(places.map((p) => p % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length));
}

const places = fc.array(fc.nat(1000), { maxLength: 12 });

describe("Utf8Stream", () => {
  it("gives the same text for any split of any bytes", () => {
    const nasty = fc.constantFrom(
      Uint8Array.of(0xf0, 0x9f, 0x98),
      Uint8Array.of(0xed, 0xa0, 0x80),
      Uint8Array.of(0xef, 0xbb, 0xbf),
      Uint8Array.of(0xc0, 0x80, 0xff),
      new TextEncoder().encode("aé€😀"),
    );
    const bytes = fc
      .array(fc.oneof(fc.uint8Array({ maxLength: 6 }), nasty), { maxLength: 8 })
      .map((parts) => Uint8Array.from(parts.flatMap((p) => [...p])));
    fc.assert(
      fc.property(bytes, places, (all, where) => {
        const whole = new Utf8Stream().push(all);
        const split = new Utf8Stream();
        const text = cut(all, where)
          .map((part) => split.push(part))
          .join("");
        expect(text).toBe(whole);
        expect(new TextDecoder("utf-8", { ignoreBOM: true }).decode(all).startsWith(whole)).toBe(
          true,
        );
        expect(whole).not.toMatch(/\p{Surrogate}/u);
      }),
      { numRuns: 500, seed: 1 },
    );
  });
});

/** The first stop text to be complete, found the slow way. */
function slowly(text: string, stops: readonly string[]): { shown: string; matched: string | null } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops
      .filter((s) => text.slice(0, end).endsWith(s))
      .sort((a, b) => b.length - a.length)[0];
    if (found !== undefined) return { shown: text.slice(0, end - found.length), matched: found };
  }
  return { shown: text, matched: null };
}

describe("StopMatcher", () => {
  it("finds what a search of the whole text finds, for any split", () => {
    const letters = fc.string({
      unit: fc.constantFrom("a", "b", "c", "é", "😀"),
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(
        fc.array(letters, { maxLength: 12 }),
        fc.array(letters, { maxLength: 3 }),
        (pieces, stops) => {
          const expected = slowly(pieces.join(""), stops);
          const matcher = new StopMatcher(stops);
          let shown = "";
          for (const piece of pieces) {
            shown += matcher.push(piece);
            expect(shown).not.toMatch(/\p{Surrogate}/u);
            expect(stops.some((s) => shown.includes(s))).toBe(false);
            expect(expected.shown.startsWith(shown)).toBe(true);
          }
          shown += matcher.end();
          expect({ shown, matched: matcher.matched }).toEqual(expected);
        },
      ),
      { numRuns: 1000, seed: 2 },
    );
  });

  it("refuses stop texts that can never be found", () => {
    expect(() => new StopMatcher([""])).toThrow(/is empty/);
    expect(() => new StopMatcher(["\ud83d"])).toThrow(/not valid Unicode/);
  });
});

/** Byte tokens 0 … 255 and an end token 256. */
const bytes: TokenTexts = {
  size: 257,
  bytes: (token) => (token < 256 ? Uint8Array.of(token) : new Uint8Array(0)),
  endsGeneration: (token) => token === 256,
};

const rules: EndRules = {
  maxTokens: 1000,
  minTokens: 0,
  stop: [],
  stopTokens: [],
  ignoreEos: false,
};

function say(text: string | readonly number[], some: Partial<EndRules>) {
  const out = new Output(bytes, { ...rules, ...some });
  let shown = "";
  for (const token of typeof text === "string" ? new TextEncoder().encode(text) : text) {
    if (out.end !== null) break;
    shown += out.push(token);
  }
  return { shown, end: out.end, tokens: out.tokens };
}

describe("Output", () => {
  it("ends at stop texts, stop tokens, the end token and the length", () => {
    expect(say("one\ntwo", { stop: ["\n"] })).toEqual({
      shown: "one",
      end: { reason: "stop", matched: "\n" },
      tokens: 4,
    });
    expect(say("abc", { stopTokens: [98] })).toEqual({
      shown: "a",
      end: { reason: "stop", matched: 98 },
      tokens: 2,
    });
    expect(say([97, 256, 98], {})).toEqual({
      shown: "a",
      end: { reason: "stop", matched: null },
      tokens: 2,
    });
    expect(say([97, 256, 98], { ignoreEos: true }).shown).toBe("ab");
    expect(say("abc", { maxTokens: 2 })).toEqual({
      shown: "ab",
      end: { reason: "length", matched: null },
      tokens: 2,
    });
  });

  it("shows held-back text at the end, but no half of a character", () => {
    expect(say("abEN", { stop: ["END"], maxTokens: 4 }).shown).toBe("abEN");
    expect(say("é€", { maxTokens: 4 }).shown).toBe("é");
    const cancelled = new Output(bytes, { ...rules, stop: ["END"] });
    for (const token of new TextEncoder().encode("aEN")) cancelled.push(token);
    expect(cancelled.cut()).toBe("EN");
  });

  it("does not stop before minTokens", () => {
    expect(say("a\nb\nc", { stop: ["\n"], minTokens: 3 }).shown).toBe("a\nb");
    expect(say([256, 97, 256], { minTokens: 2 })).toMatchObject({ shown: "a", tokens: 3 });
  });
});
