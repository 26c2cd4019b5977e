import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { millrace } from "../../testing.conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "memory-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

const small = ["--batch", "8", "--layers", "4", "--width", "32", "--measure", "1ms"];

test("run trains under a plan beside keeping everything, and keeps to the predicted peak", async () => {
  const costs = join(folder, "costs.json");
  const flags = ["--model", "gpt-small", ...small, "--steps", "3", "--costs", costs, "--json"];
  const first = await millrace("memory", "run", ...flags);
  expect(first.err).toBe("");
  const report = JSON.parse(first.out);
  expect(report).toMatchObject({ schema: "millrace.memory-run/1", model: "gpt-small", batch: 8 });
  expect(report.planned.measured.peakBytes).toBe(report.planned.predicted.peakBytes);
  expect(report.planned.measured.peakBytes).toBeLessThanOrEqual(report.budgetBytes);
  expect(report.activationRatio).toBeGreaterThanOrEqual(2);
  expect(report.planned.losses).toHaveLength(3);
  // Dropout and recomputation included, both plans compute one and the same function.
  report.planned.losses.forEach((loss: number, i: number) => {
    expect(Math.abs(loss - report.keepAll.losses[i])).toBeLessThan(1e-3);
  });
  expect(JSON.parse(readFileSync(costs, "utf8"))).toMatchObject({
    schema: "millrace.memory-costs/1",
  });
});

test("verify proves memory and gradients", async () => {
  const { exit, out } = await millrace("memory", "verify", "--model", "llama-small", ...small);
  expect(out.split("\n").filter((line) => line.startsWith("✗"))).toEqual([]);
  expect(exit).toBe(0);
  expect(out).toMatch(/✓ canaries: nothing written outside/);
  expect(out).toMatch(/✓ gradients/);
});

test("mistakes are told", async () => {
  const bad = join(folder, "bad.json");
  const cases = [
    [["--model", "resnet"], 2, /no built-in training graph "resnet"/],
    [["--budget", "120%"], 2, /--budget: expected a share/],
    [["--width", "30"], 2, /no multiple of 4 heads/],
    [
      ["--model", "gpt-small", ...small, "--budget", "1KiB"],
      3,
      /no plan of gpt-small fits 1024 bytes/,
    ],
    [["--model", "gpt-small", "--costs", bad], 2, /is no cost table: it is not JSON/],
  ] as const;
  writeFileSync(bad, "{");
  for (const [flags, exit, message] of cases) {
    const told = await millrace("memory", "run", ...flags);
    expect(told.err).toMatch(message);
    expect(told.exit).toBe(exit);
  }
});
