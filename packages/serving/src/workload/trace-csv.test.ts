import { formatPlace, MillraceError } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RequestTable } from "./request-table.ts";
import { formatRequestsCsv, formatTraceCsv, readLengths, readTraceCsv } from "./trace-csv.ts";

const read = (text: string): RequestTable => readTraceCsv(text, "trace.csv");

function failure(text: string, reader = readTraceCsv): [string, string, string] {
  try {
    reader(text, "trace.csv");
  } catch (error) {
    expect(error).toBeInstanceOf(MillraceError);
    const { code, message, at, hint } = error as MillraceError;
    expect(code).toBe("TRACE_INVALID");
    expect(hint).toBeDefined();
    return [message, at === undefined ? "" : formatPlace(at), hint as string];
  }
  throw new Error("no error");
}

describe("readTraceCsv", () => {
  it("reads columns in any order and ignores others", () => {
    const table = read(
      "num_decode_tokens,x,arrived_at,num_prefill_tokens\n7,a,0.1234567890123,100\n8,b,2,200\n",
    );
    expect(table.count).toBe(2);
    expect([...table.arrivedAt]).toEqual([0.1234567890123, 2]);
    expect([...table.promptTokens]).toEqual([100, 200]);
    expect([...table.outputTokens]).toEqual([7, 8]);
    expect(table.ids).toBeNull();
    expect(table.classes).toEqual([{ name: "default", priority: 0 }]);
  });

  it("keeps ids, and sorts by arrival, equal times in file order", () => {
    const head = "id,arrived_at,num_prefill_tokens,num_decode_tokens\n";
    const table = read(`${head}d,5,4,1\na,1,1,1\nb,2,2,1\nc,2,3,1\n`);
    expect(table.ids).toEqual(["a", "b", "c", "d"]);
    expect([...table.promptTokens]).toEqual([1, 2, 3, 4]);
  });

  it("names rows by their place in the file when it has no ids and is out of order", () => {
    const head = "arrived_at,num_prefill_tokens,num_decode_tokens\n";
    expect(read(`${head}3,1,1\n1,2,1\n2,3,1\n`).ids).toEqual(["1", "2", "0"]);
  });

  it("names the place of a bad cell", () => {
    const head = "arrived_at,num_prefill_tokens,num_decode_tokens\n";
    expect(failure(`${head}0,5,5\n1,0,5\n`).slice(0, 2)).toEqual([
      'num_prefill_tokens is "0"',
      "trace.csv:3:3",
    ]);
    expect(failure(`${head}0,5,1.5\n`)[0]).toBe('num_decode_tokens is "1.5"');
    expect(failure(`${head}0,5,\n`)).toEqual([
      "num_decode_tokens is empty",
      "trace.csv:2:5",
      "token counts are whole numbers of at least 1",
    ]);
    expect(failure(`${head}-1,5,5\n`).slice(0, 2)).toEqual(['arrived_at is "-1"', "trace.csv:2:1"]);
    expect(failure(`${head}inf,5,5\n`)[0]).toBe('arrived_at is "inf"');
    expect(failure(`${head}0,5,3000000000\n`)[0]).toBe('num_decode_tokens is "3000000000"');
  });

  it("names a missing column, and a trace without requests", () => {
    const [message, place, hint] = failure("arrived_at,prompt,num_decode_tokens\n0,1,1\n");
    expect(message).toBe("the trace has no column num_prefill_tokens");
    expect(place).toBe("trace.csv:1:1");
    expect(hint).toContain("arrived_at,prompt,num_decode_tokens");
    expect(failure("arrived_at,num_prefill_tokens,num_decode_tokens\n")[0]).toBe(
      "the trace has a header but no requests",
    );
    expect(failure("num_prefill_tokens,num_decode_tokens\n1,1\n")[0]).toContain("arrived_at");
  });

  it("reads traces of lengths alone", () => {
    const rows = readLengths("num_prefill_tokens,num_decode_tokens\n5,6\n7,8\n", "t.csv");
    expect(rows).toEqual({
      count: 2,
      arrivedAt: null,
      promptTokens: Int32Array.of(5, 7),
      outputTokens: Int32Array.of(6, 8),
    });
    expect(failure("num_prefill_tokens\n1\n", readLengths as typeof readTraceCsv)[0]).toContain(
      "num_decode_tokens",
    );
  });
});

describe("formatting", () => {
  it("writes results with empty cells for what did not happen", () => {
    const table: RequestTable = {
      ...read('id,arrived_at,num_prefill_tokens,num_decode_tokens\n"a,1",0.1,5,6\nb,1e-7,7,8\n'),
    };
    const { NaN: never } = Number;
    const text = [
      ...formatRequestsCsv(table, {
        scheduledAt: Float64Array.of(0.1 + 0.2, never),
        firstTokenAt: Float64Array.of(1 / 3, never),
        completedAt: Float64Array.of(never, never),
        restarts: Int32Array.of(2, 0),
      }),
    ].join("");
    expect(text).toBe(
      "id,arrived_at,num_prefill_tokens,num_decode_tokens,scheduled_at,prefill_completed_at,completed_at,restarts\n" +
        "b,1e-7,7,8,0.30000000000000004,0.3333333333333333,,2\n" +
        '"a,1",0.1,5,6,,,,0\n',
    );
  });

  it("writes traces that read back to the same bytes", () => {
    const row = fc.tuple(
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      fc.integer({ min: 1, max: 1e6 }),
      fc.integer({ min: 1, max: 1e6 }),
    );
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 50 }), fc.boolean(), (rows, named) => {
        rows.sort((a, b) => a[0] - b[0]);
        const table: RequestTable = {
          count: rows.length,
          arrivedAt: Float64Array.from(rows, (r) => r[0] + 0),
          promptTokens: Int32Array.from(rows, (r) => r[1]),
          outputTokens: Int32Array.from(rows, (r) => r[2]),
          classIndex: new Uint8Array(rows.length),
          classes: [{ name: "default", priority: 0 }],
          ids: rows.map((_, i) => (named ? `r"${i}` : String(i))),
        };
        const text = [...formatTraceCsv(named ? table : { ...table, ids: null })].join("");
        expect(readTraceCsv(text, "t.csv")).toEqual(table);
      }),
    );
  });
});
