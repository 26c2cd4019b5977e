import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LinePointSource } from "@millrace/core/job";
import { afterAll, expect, it } from "vitest";
import { openFolder } from "../source/folder.ts";
import { makeJpegSet } from "../synthetic/jpeg-set.ts";
import { timeCommand } from "./command.ts";
import { instrument } from "./instrument.ts";

const dir = mkdtempSync(join(tmpdir(), "millrace-command-"));
afterAll(() => rmSync(dir, { recursive: true }));
makeJpegSet(join(dir, "set"), { count: 12, width: 64 });
const source = openFolder(join(dir, "set"));

it("a source that is not analyzed is itself; one that is tells the time of each step", async () => {
  const points = new LinePointSource(20, 8, 1);
  expect(instrument(points, {})).toBe(points);
  const out = join(dir, "steps");
  const told = instrument(points, { MILLRACE_ANALYZE: "cold", MILLRACE_ANALYZE_OUT: out });
  for (let loan = await told.next(); loan !== null; loan = await told.next()) loan.release();
  const lines = readFileSync(out, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.map(({ samples }) => samples)).toEqual([8, 8, 4]);
  for (const { seconds } of lines) expect(seconds).toBeGreaterThanOrEqual(0);
});

it("synthetic input is one batch, as often as it takes", async () => {
  const out = join(dir, "synthetic");
  const told = instrument(new LinePointSource(1000, 8, 1), {
    MILLRACE_ANALYZE: "synthetic",
    MILLRACE_ANALYZE_OUT: out,
    MILLRACE_ANALYZE_SAMPLES: "40",
  });
  const seen = new Set<unknown>();
  let batches = 0;
  for (let loan = await told.next(); loan !== null; loan = await told.next()) {
    seen.add(loan.batch);
    batches++;
    loan.release();
  }
  expect(batches).toBe(5);
  expect(seen.size).toBe(1);
});

/** A program that takes 1 ms for a sample, 2 more to prepare it and 4 more to fetch it, by its own account. */
const program = `
  const fs = require("node:fs");
  const { MILLRACE_ANALYZE: phase, MILLRACE_ANALYZE_OUT: out, MILLRACE_ANALYZE_SAMPLES: n } = process.env;
  const each = { synthetic: 0.001, cached: 0.003, cold: 0.007 }[phase];
  for (let i = 0; i < Number(n) / 4; i++)
    fs.appendFileSync(out, JSON.stringify({ samples: 4, seconds: i < 5 ? 9 : 4 * each }) + "\\n");`;

it("a command is run three times, and the first steps do not count", async () => {
  const phases: string[] = [];
  const times = await timeCommand({
    command: [process.execPath, "-e", program],
    source,
    samples: 48,
    onPhase: (phase) => phases.push(phase),
  });
  expect(phases).toEqual(["cold", "cached", "synthetic"]);
  expect(times.synthetic).toHaveLength(7);
  for (const [phase, each] of Object.entries({ synthetic: 0.001, cached: 0.003, cold: 0.007 }))
    for (const seconds of times[phase as "cold"]) expect(seconds).toBeCloseTo(each, 9);
});

it("a command that fails, reports nothing or is not there is told of", async () => {
  const run = (...command: string[]) => timeCommand({ command, source, samples: 4 });
  await expect(run(process.execPath, "-e", "process.exit(3)")).rejects.toThrow(
    /exit code 3 in the cold run/,
  );
  await expect(run(process.execPath, "-e", "0")).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await expect(run("/nowhere/at/all")).rejects.toMatchObject({ code: "ENVIRONMENT_MISSING" });
  writeFileSync(join(dir, "junk"), "");
  const junk = `require("node:fs").writeFileSync(process.env.MILLRACE_ANALYZE_OUT, "{}\\nnot json\\n")`;
  await expect(run(process.execPath, "-e", junk)).rejects.toThrow(/no steps/);
});
