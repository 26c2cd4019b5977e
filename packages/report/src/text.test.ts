import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { writeInterval, writeNumber, writeRound } from "./format.ts";
import { clean, embedJson, escapeHtml, inlinePieces, shorten } from "./text.ts";

const any = fc.string({ unit: "binary", maxLength: 80 });

describe("escapeHtml", () => {
  test("leaves nothing that is markup and loses no printable character", () => {
    fc.assert(
      fc.property(any, (text) => {
        const escaped = escapeHtml(text);
        expect(escaped).not.toMatch(/[<>"']/);
        expect(escaped).not.toMatch(/&(?!(amp|lt|gt|quot|#39);)/);
        const back = escaped
          .replaceAll("&lt;", "<")
          .replaceAll("&gt;", ">")
          .replaceAll("&quot;", '"')
          .replaceAll("&#39;", "'")
          .replaceAll("&amp;", "&");
        expect(back).toBe(clean(text));
      }),
    );
  });

  test("shows half pairs, controls and text-direction overrides as what they are", () => {
    expect(clean("a\u202eb\u0000c\ud800d")).toBe("a\ufffdb\ufffdc\ufffdd");
    expect(clean("naïve 😀\n\ttabs stay")).toBe("naïve 😀\n\ttabs stay");
  });
});

describe("embedJson", () => {
  test("cannot end its element and reads back as what was written", () => {
    fc.assert(
      fc.property(fc.jsonValue(), any, (value, hostile) => {
        const json = embedJson({ value, hostile: `</script>${hostile}<!--` });
        expect(json).not.toMatch(/[<>&\u2028\u2029]/);
        expect(JSON.parse(json)).toEqual(
          JSON.parse(JSON.stringify({ value, hostile: `</script>${hostile}<!--` })),
        );
      }),
    );
  });

  test("writes typed arrays as arrays and what is not a number as null", () => {
    expect(embedJson({ a: Float64Array.of(1.5, Number.NaN), b: Number.POSITIVE_INFINITY })).toBe(
      '{"a":[1.5,null],"b":null}',
    );
    expect(embedJson(undefined)).toBe("null");
  });
});

test("inlinePieces splits at pairs of backticks only", () => {
  expect(inlinePieces("run `a b` now")).toEqual([
    { code: false, text: "run " },
    { code: true, text: "a b" },
    { code: false, text: " now" },
  ]);
  expect(inlinePieces("one ` alone")).toEqual([{ code: false, text: "one ` alone" }]);
});

test("shorten counts characters, not halves of them", () => {
  expect(shorten("😀😀😀😀", 3)).toBe("😀😀…");
  expect(shorten("abc", 3)).toBe("abc");
});

test("numbers for people", () => {
  expect(writeNumber(0.01234)).toBe("0.0123");
  expect(writeNumber(12345.6)).toBe("12,300");
  expect(writeNumber(Number.NaN)).toBe("–");
  expect(writeNumber(1234567, "whole")).toBe("1,234,567");
  expect(writeNumber(0.353, "percent")).toBe("35.3%");
  expect(writeRound(2.5)).toBe("2.5");
  expect(writeRound(2.4, "seconds")).toBe("2.4 s");
  expect(writeRound(0.2)).toBe("0.2");
  expect(writeRound(100)).toBe("100");
  expect(writeRound(50, "dollars")).toBe("$50");
  expect(writeInterval(3.9, 4.55)).toBe("3.90 – 4.55");
  expect(writeInterval(Number.NaN, Number.NaN)).toBe("–");
});
