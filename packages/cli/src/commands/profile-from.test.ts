/** Raw runs that are none, or that tell nothing of steps: each is refused in one sentence, and nothing is written. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startMockProcess } from "@millrace/bench/mock";
import { parseStepProfile } from "@millrace/serving";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { millrace } from "../testing.conformance.ts";

let folder: string;
let lines: readonly string[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-profile-from-"));
  await using mock = await startMockProcess({ stepMs: 4, chunkTokens: 64 });
  const words = "--rate 60 --requests 60 --prompt-tokens 8..100 --output-tokens 8..24 --warmup 1";
  const out = join(folder, "run");
  const bench = await millrace("bench", "--url", mock.url, ...words.split(" "), "--out", out);
  expect(bench.exit).toBe(0);
  lines = readFileSync(join(out, "run.jsonl"), "utf8").trimEnd().split("\n");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function profileOf(text: string) {
  const [run, out] = [join(folder, "changed.jsonl"), join(folder, "profile.json")];
  writeFileSync(run, text);
  rmSync(out, { force: true });
  const told = await millrace("profile", "--from", run, "--out", out);
  return { ...told, written: existsSync(out) };
}

type Line = { [key: string]: unknown; chunks: Record<"gapUs" | "tokens" | "chars", number[]> };

/** The run with every request changed. */
function changed(change: (record: Line) => void): string {
  return lines
    .map((line) => {
      const record = JSON.parse(line);
      if (record.chunks !== undefined) change(record);
      return JSON.stringify(record);
    })
    .join("\n");
}

test.each<[string, () => string, string]>([
  ["an empty file", () => "", "the file is empty"],
  ["no requests", () => `${lines[0]}\n`, "holds no requests"],
  [
    "requests that failed",
    () =>
      changed((record) => {
        record.status = "failed";
      }),
    "holds 60 requests, of which none finished",
  ],
  [
    "answers that came whole",
    () =>
      changed(({ chunks }) => {
        for (const column of Object.values(chunks)) {
          const sum = column.reduce((a, b) => a + b, 0);
          column.splice(0, column.length, sum);
        }
      }),
    "none of which came token by token",
  ],
  [
    "answers without token times",
    () =>
      changed(({ chunks }) => {
        for (const column of Object.values(chunks)) column.length = 0;
      }),
    "none of which came token by token",
  ],
  [
    "times that go back",
    () =>
      changed(({ chunks }) => {
        if (chunks.gapUs.length > 3) chunks.gapUs[3] = -40_000;
      }),
    "tokens came before those before them",
  ],
  ["too few of them", () => lines.slice(0, 4).join("\n"), "but 200 are needed"],
  ["the report beside it", () => '{ "schema": "millrace.bench/1" }', "millrace.bench-run/1"],
])("%s: told, exit code 2, nothing written", async (_, text, said) => {
  const run = await profileOf(text());
  expect(run.err).toContain(said);
  expect(run.err).toContain("hint:");
  expect([run.exit, run.written]).toEqual([2, false]);
});

test("a file of another kind is quoted without its control characters", async () => {
  const run = await profileOf("GGUF\u0003\u001b[31m\u0007\u0000");
  expect(run.exit).toBe(2);
  const plain = run.err.replace(/[\n\t]/g, "");
  expect(plain).not.toMatch(/\p{Cc}/u);
});

test("whatever is done to a run's text, it is fitted or refused, and never a defect", async () => {
  const text = lines.join("\n");
  const place = fc.double({ min: 0, max: 1, noNaN: true });
  const junk = fc.constantFrom(
    "",
    "NaN",
    "null",
    "-",
    "9",
    "0",
    "1e999",
    '"x"',
    "[]",
    "{}",
    "\n",
    "\u0000",
  );
  await fc.assert(
    fc.asyncProperty(place, fc.nat(60), junk, fc.boolean(), async (share, length, put, cut) => {
      const at = Math.floor(share * text.length);
      const rest = cut ? "" : text.slice(at + length);
      const run = await profileOf(text.slice(0, at) + put + rest);
      expect(run.err).not.toContain("error[INTERNAL]");
      expect([0, 2]).toContain(run.exit);
      expect(run.written).toBe(run.exit === 0);
      const written = join(folder, "profile.json");
      if (run.written) parseStepProfile(readFileSync(written, "utf8"), written);
    }),
    { numRuns: 150 },
  );
});
