import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeData } from "../synthetic/splits.ts";
import { reproduceAstra } from "./astra.ts";
import { RunLog } from "./run-log.ts";

const out = mkdtempSync(join(tmpdir(), "extreme-study-"));
afterAll(() => rmSync(out, { recursive: true }));

test("the mixture comes near the full loss; stale hard negatives alone do not; runs are kept", async () => {
  const first = await reproduceAstra({ quick: true, seed: 42, out });
  const of = (claim: string) =>
    first.rows.find((row) => row.claim.startsWith(claim))?.ours ?? Number.NaN;
  expect(of("P@1 of astra less that of the full loss")).toBeGreaterThan(-4);
  expect(of("P@1 of astra less that of stale hard")).toBeGreaterThan(3);
  expect(of("P@1 of astra as a share")).toBeGreaterThan(50);
  expect(of("P@1 of astra as a share")).toBeLessThan(105);
  const log = join(out, "runs.jsonl");
  const lines = readFileSync(log, "utf8").trim().split("\n");
  expect(lines.length).toBe(4);
  expect(JSON.parse(lines[0]!)).toMatchObject({ arm: "astra", heldOut: 0 });
  // CPU seconds would differ if anything was run again.
  expect(await reproduceAstra({ quick: true, seed: 42, out })).toEqual(first);
  expect(await reproduceAstra({ quick: true, seed: 42, out, keptOnly: true })).toEqual(first);
  const none = await reproduceAstra({ quick: true, seed: 41, out, keptOnly: true });
  expect(none.rows).toEqual([]);
  expect(statSync(log).size).toBe(Buffer.byteLength(`${lines.join("\n")}\n`));
});

test("a line that an interruption cut off is named", () => {
  const { dataset } = makeData({ labels: 48, seed: 1, testPoints: 10 });
  const log = join(out, "broken.jsonl");
  writeFileSync(log, '{"key":"a"}\n{"key":');
  expect(() => new RunLog(dataset, log)).toThrow(/broken.jsonl:2 is not a run/);
});
