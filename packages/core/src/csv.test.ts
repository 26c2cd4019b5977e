import fc from "fast-check";
import { expect, test } from "vitest";
import { escapeCsv, parseCsv } from "./csv.ts";
import { MillraceError } from "./errors.ts";

const failure = (text: string): MillraceError => {
  try {
    parseCsv(text, "t.csv");
  } catch (error) {
    expect(error).toBeInstanceOf(MillraceError);
    return error as MillraceError;
  }
  return expect.unreachable();
};

test("BOM, CRLF, quotes, blank lines and a missing last newline", () => {
  const table = parseCsv('\ufeffa,"b ""x"""\r\n1,"2,\r\n3"\r\n\r\n,4', "t.csv");
  expect(table.header).toEqual(["a", 'b "x"']);
  expect(table.rows).toBe(2);
  expect(table.column('b "x"')).toBe(1);
  expect(table.column("c")).toBe(-1);
  expect(table.text(0, 1)).toBe("2,\r\n3");
  expect(table.number(0, 0)).toBe(1);
  expect(table.number(1, 0)).toBeNaN();
  expect(table.text(1, 0)).toBe("");
  expect(table.place(0, 1)).toEqual({ file: "t.csv", line: 2, column: 3 });
  expect(table.place(1, 1)).toEqual({ file: "t.csv", line: 5, column: 2 });
});

test.each([
  ["a,b\n1\n", 2, 1, /expected 2 cells.*got 1/],
  ["a,b\n1,2\n3,4,5", 3, 1, /got 3/],
  ['a,b\n1,"x', 2, 3, /not closed/],
  ['a,b\n1,"x"y\n', 2, 6, /after the closing quote/],
  ['a,b\n1,x"y\n', 2, 4, /quote inside/],
  ["a,a\n", 1, 3, /two columns/],
  ["", 1, 1, /empty/],
  ["\n\n", 1, 1, /empty/],
])("%j fails at %d:%d", (text, line, column, message) => {
  const error = failure(text);
  expect(error.message).toMatch(message);
  expect(error.at).toEqual({ file: "t.csv", line, column });
});

test("written tables read back", () => {
  const rows = fc.integer({ min: 2, max: 5 }).chain((n) =>
    fc.array(fc.array(fc.string({ unit: "binary" }), { minLength: n, maxLength: n }), {
      maxLength: 20,
    }),
  );
  fc.assert(
    fc.property(rows, fc.constantFrom("\n", "\r\n"), fc.boolean(), (data, newline, last) => {
      const n = data[0]?.length ?? 2;
      const header = Array.from({ length: n }, (_, i) => `c${i}`);
      const lines = [header, ...data].map((row) => row.map(escapeCsv).join(","));
      const table = parseCsv(lines.join(newline) + (last ? newline : ""), "t.csv");
      expect(table.rows).toBe(data.length);
      data.forEach((row, r) => {
        row.forEach((value, c) => {
          expect(table.text(r, c)).toBe(value);
        });
      });
    }),
  );
});

test("numbers read back exactly", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true })), (values) => {
      const table = parseCsv(`x,y\n${values.map((v) => `${v},1`).join("\n")}`, "t.csv");
      values.forEach((v, i) => {
        expect(table.number(i, 0)).toBe(Object.is(v, -0) ? 0 : v);
      });
    }),
  );
  fc.assert(
    fc.property(fc.integer(), fc.nat(12), (n, decimals) => {
      const text = (n / 10 ** decimals).toFixed(decimals);
      expect(parseCsv(`x,y\n${text},"${text}"`, "t").number(0, 0)).toBe(Number(text));
      expect(parseCsv(`x,y\n${text},"${text}"`, "t").number(0, 1)).toBe(Number(text));
    }),
  );
});

test("what is not a decimal number is NaN", () => {
  const cells = ["abc", "0x10", "1e", "1 2", "-", ".", "Infinity", "1_000", '""', "--1", "1.2.3"];
  const table = parseCsv(`x,y\n${cells.map((c) => `${c},0`).join("\n")}`, "t");
  cells.forEach((_, i) => {
    expect(table.number(i, 0)).toBeNaN();
  });
  expect(parseCsv("x,y\n 5 ,+2e3", "t").number(0, 0)).toBe(5);
  expect(parseCsv("x,y\n 5 ,+2e3", "t").number(0, 1)).toBe(2000);
});

test("any text parses or fails with a MillraceError", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("a", "1", ",", '"', "\n", "\r") }), (text) => {
      try {
        const table = parseCsv(text, "t");
        for (let r = 0; r < table.rows; r++)
          for (let c = 0; c < table.header.length; c++)
            expect(typeof table.text(r, c)).toBe("string");
      } catch (error) {
        expect(error).toBeInstanceOf(MillraceError);
      }
    }),
  );
});
