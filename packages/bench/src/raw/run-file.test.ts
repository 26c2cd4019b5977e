import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { failedRecord, record, runOf } from "../metrics/record.conformance.ts";
import { mergeRuns, readRun } from "./run-reader.ts";
import { RunWriter } from "./run-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-raw-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "run.jsonl");

function write(records: ReturnType<typeof record>[]): void {
  const writer = new RunWriter(path, runOf(records).header);
  for (const one of records) writer.record(one);
  writer.abort();
}

test("what was written is read again", async () => {
  const times = fc.array(fc.nat(5000), { minLength: 1, maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(fc.array(times, { maxLength: 8 }), async (streams) => {
      const records = streams.map((ms, i) =>
        record(
          i,
          ms.sort((a, b) => a - b),
        ),
      );
      write(records);
      expect(await readRun(path)).toEqual(runOf(records));
    }),
    { numRuns: 30 },
  );
});

test("a run that was killed is read up to its last whole line", async () => {
  write([record(0, [5, 9]), failedRecord(1, 4)]);
  const text = readFileSync(path, "utf8");
  writeFileSync(path, text.slice(0, -20));
  const run = await readRun(path);
  expect(run.records).toHaveLength(1);
  expect(run.end).toBeNull();
});

test.each([
  ["", "file is empty"],
  ["{}\n", ":1 schema"],
  ['{"a":\n{}\n', ":1 "],
])("a file that is none is refused: %j", async (text, why) => {
  writeFileSync(path, text);
  await expect(readRun(path)).rejects.toThrow(why);
});

test("a damaged record is named by its line", async () => {
  write([record(0, [5, 9])]);
  const damaged = readFileSync(path, "utf8").replace('"tokens":[1,1]', '"tokens":[1]');
  writeFileSync(path, damaged);
  await expect(readRun(path)).rejects.toThrow(":2 the columns of chunks differ");
  await expect(readRun(join(folder, "none"))).rejects.toThrow("cannot be read");
});

test("runs of several hosts become one; runs of different models do not", () => {
  const [a, b] = [runOf([record(0, [5])]), runOf([record(0, [7]), record(1, [8])])];
  const merged = mergeRuns([a, b]);
  expect(merged.records.map(({ index, id }) => [index, id])).toEqual([
    [0, "0/0"],
    [1, "1/0"],
    [2, "1/1"],
  ]);
  const other = { ...b, header: { ...b.header, endpoint: { ...b.header.endpoint, model: "z" } } };
  expect(() => mergeRuns([a, other])).toThrow("cannot be merged");
});
