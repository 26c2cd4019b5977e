import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MillraceError } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LoadTrace } from "../contracts.ts";
import { lostIn, recogniseTrace, traceFormat, traceFormats } from "./format.ts";
import { traceFigures, transformTrace } from "./transform.ts";

const trace: fc.Arbitrary<LoadTrace> = fc
  .array(
    fc.record({
      at: fc.integer({ min: 0, max: 10_000_000 }),
      prompt: fc.integer({ min: 1, max: 100_000 }),
      output: fc.integer({ min: 1, max: 5000 }),
      id: fc.string({ minLength: 1 }),
      session: fc.nat(5),
      hashes: fc.array(fc.nat(1e6), { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 20 },
  )
  .map((rows) => {
    rows.sort((a, b) => a.at - b.at);
    const first = rows[0]?.at ?? 0;
    return {
      count: rows.length,
      // To the millisecond, which the coarsest formats keep.
      arrivedAt: Float64Array.from(rows, ({ at }) => (at - first) / 1000),
      promptTokens: Int32Array.from(rows, ({ prompt }) => prompt),
      outputTokens: Int32Array.from(rows, ({ output }) => output),
      ids: rows.map(({ id }) => id),
      prefixHashes: rows.map(({ hashes }) => hashes),
      blockTokens: 512,
      sessions: Int32Array.from(rows, ({ session }) => session),
    };
  });

describe.each(traceFormats.map((format) => [format.name, format] as const))("%s", (_, format) => {
  test("reads what it wrote, recognises it, and names what it lost", () => {
    fc.assert(
      fc.property(trace, (given) => {
        const text = [...format.write(given)].join("");
        expect(recogniseTrace(text, "t")).toBe(format);
        const { carries } = format;
        expect(format.read(text, "t")).toEqual({
          ...given,
          ids: carries.ids ? given.ids : null,
          prefixHashes: carries.prefixes ? given.prefixHashes : null,
          sessions: carries.sessions ? given.sessions : null,
        });
        const kept = Object.values(carries).filter(Boolean).length;
        expect(lostIn(given, format)).toHaveLength(4 - kept);
      }),
    );
  });

  test("fails with its own error alone", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        try {
          format.read(text, "file");
        } catch (error) {
          expect(error).toBeInstanceOf(MillraceError);
        }
      }),
    );
  });
});

test("files as they are published are understood", () => {
  const read = (text: string): LoadTrace => recogniseTrace(text, "f").read(text, "f");
  const azure = read(
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
  );
  expect([...(azure.arrivedAt ?? [])]).toEqual([0, 4.314579]);
  const later = read(
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01+00:00,2399,0\n",
  );
  expect([...(later.arrivedAt ?? [])]).toEqual([0, 0.99007]);
  expect([...later.outputTokens]).toEqual([5, 1]);
  const burst = read(
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,Conversation log\n118.5,GPT-4,417,276,693,API log\n",
  );
  expect(burst.count).toBe(2);
  expect([...(burst.arrivedAt ?? [])]).toEqual([0, 113.5]);
  const mooncake = read(
    '{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 48]}\n{"timestamp": 27485, "input_length": 900, "output_length": 5, "hash_ids": [46, 9]}\n',
  );
  expect([...(mooncake.arrivedAt ?? [])]).toEqual([0, 0.003]);
  expect(mooncake.prefixHashes?.[1]).toEqual([46, 9]);
  expect(traceFigures(mooncake).sharedPrefix).toBeCloseTo(512 / 7855, 9);
  const etalon = read("arrival_time,num_prefill_tokens,num_decode_tokens\n0.25,5,6\n0.125,7,8\n");
  expect([...etalon.promptTokens]).toEqual([7, 5]);
});

test.each([
  [
    "vidur",
    "arrived_at,num_prefill_tokens,num_decode_tokens\n0,5,6\n1,x,6\n",
    "f:3 num_prefill_tokens",
  ],
  [
    "mooncake",
    '{"timestamp":0,"input_length":5,"output_length":1}\n{"timestamp":0}\n',
    "f:2 input_length",
  ],
  ["mooncake", '{"timestamp":0,\n', "f:1 this is not JSON"],
  ["azure", "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2\n", "f:2 TIMESTAMP"],
  ["millrace", '{"schema":"millrace.trace/1"}\n', "no request"],
  [
    "millrace",
    '{"schema":"millrace.trace/1"}\n{"prompt":1,"output":1}\n{"at":0,"prompt":1,"output":1}\n',
    "f:3 some rows",
  ],
])("%s: a wrong row is named", (name, text, why) => {
  expect(() => traceFormat(name).read(text, "f")).toThrow(why);
});

test("cut, scaled and limited", () => {
  const text = "arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n2,2,2\n4,3,3\n6,4,4\n";
  const given = traceFormat("vidur").read(text, "f");
  const cut = transformTrace(given, { from: 2, to: 6, speed: 2, requests: 5 });
  expect([...(cut.arrivedAt ?? [])]).toEqual([0, 1]);
  expect([...cut.promptTokens]).toEqual([2, 3]);
  expect(() => transformTrace(given, { from: 7 })).toThrow("no request arrives");
});

const shared = fileURLToPath(new URL("../../../../../shared/data/traces", import.meta.url));
test.skipIf(!existsSync(shared))("published files are read whole", () => {
  for (const file of readdirSync(shared).filter((name) => name.endsWith(".csv"))) {
    const text = readFileSync(`${shared}/${file}`, "utf8");
    const { requests, prompt } = traceFigures(recogniseTrace(text, file).read(text, file));
    expect(requests).toBe(text.trimEnd().split("\n").length - 1);
    expect(prompt.max).toBeGreaterThan(1000);
  }
});
