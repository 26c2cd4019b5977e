import fc from "fast-check";
import { expect, test } from "vitest";
import { MillraceError } from "./errors.ts";
import { jsonErrorIndex, parseJson } from "./json-text.ts";

function failure(text: string): MillraceError {
  try {
    parseJson(text, "t.json");
  } catch (error) {
    expect(error).toBeInstanceOf(MillraceError);
    return error as MillraceError;
  }
  return expect.unreachable();
}

test.each([
  ['{"a": NaN}', 1, 7, /"NaN" is unexpected/],
  ["[1,\n -Infinity]", 2, 2, /"-Infinity" is unexpected/],
  ['{"a": 1,\n}', 2, 1, /"}" is unexpected/],
  ["", 1, 1, /the end of the file/],
  ['\ufeff{"a": [1, 2', 1, 12, /the end of the file/],
])("%j: line %i, column %i", (text, line, column, message) => {
  const error = failure(text);
  expect(error.code).toBe("CONFIG_SYNTAX");
  expect(error.message).toMatch(message);
  expect(error.at).toEqual({ file: "t.json", line, column });
});

test("what is JSON is read, what is not has a place within the text", () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), fc.constantFrom("", "x", "}", ",", '"'), (text, at, by) => {
      expect(parseJson(text, "t.json")).toEqual(JSON.parse(text));
      const place = at % (text.length + 1);
      const bad = text.slice(0, place) + by + text.slice(place + 1);
      let valid = true;
      try {
        JSON.parse(bad);
      } catch {
        valid = false;
      }
      if (valid) return;
      failure(bad);
      expect(jsonErrorIndex(bad)).toBeLessThanOrEqual(bad.length);
    }),
  );
});
