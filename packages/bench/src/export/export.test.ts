import { parquetReadObjects } from "hyparquet";
import { expect, test } from "vitest";
import { failedRecord, record, runOf, targets } from "../metrics/record.conformance.ts";
import { summarizeRun } from "../metrics/summary.ts";
import { chunksCsv, requestsCsv } from "./csv.ts";
import { csvField } from "./field.ts";
import { chunksParquet, requestsParquet } from "./parquet.ts";
import { liveMetrics, reportMetrics } from "./prometheus.ts";

const records = [
  record(-1, [5], { warmup: true }),
  record(0, [100, 150.5], { id: 'a,"b"' }, [2, 1]),
  failedRecord(1, 7),
];

test("CSV: a line a request, a line a chunk", () => {
  const lines = [...requestsCsv(records)].join("").trimEnd().split("\n");
  expect(lines).toHaveLength(3);
  expect(lines[1]).toContain('0,"a,""b""",ok,,0,0,0,0.000000,0.000000');
  expect(lines[2]).toContain("1,1,failed,reset");
  expect([...chunksCsv(records)].join("")).toBe(
    "request,choice,since_scheduled_s,tokens,characters\n0,0,0.100000,2,8\n0,0,0.150500,1,4\n",
  );
  expect(csvField("=1+1")).toBe("'=1+1");
});

test("Parquet: what was written is read again", async () => {
  const read = async (bytes: Uint8Array): Promise<Record<string, unknown>[]> =>
    parquetReadObjects({ file: bytes.slice().buffer });
  const rows = await read(requestsParquet(records));
  expect(rows).toHaveLength(2);
  expect(rows[0]).toMatchObject({ index: 0, id: 'a,"b"', first_token_s: 0.1, output_tokens: 3 });
  expect(rows[1]).toMatchObject({ status: "failed", error: "reset", first_token_s: null });
  expect(await read(chunksParquet(records))).toEqual([
    { request: 0, choice: 0, since_scheduled_s: 0.1, tokens: 2 },
    { request: 0, choice: 0, since_scheduled_s: 0.1505, tokens: 1 },
  ]);
});

test("Prometheus: every sample is a line that its format allows", () => {
  const report = { ...summarizeRun(runOf(records), { targets }), label: 'a "b"\\' };
  const counters = {
    ...{ scheduled: 9, due: 5, sent: 4, inFlight: 1, ok: 2, failed: 1, refused: 0, abandoned: 0 },
    ...{ chunks: 40, seconds: 3 },
  };
  const text = liveMetrics(counters) + reportMetrics(report);
  for (const line of text.trimEnd().split("\n"))
    expect(line).toMatch(
      /^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="(\\.|[^"\\])*"(,\w+="(\\.|[^"\\])*")*\})? (NaN|\+Inf|-?[\d.e+-]+))$/,
    );
  expect(text).toContain('millrace_bench_errors{model="m",label="a \\"b\\"\\\\",class="reset"} 1');
});
