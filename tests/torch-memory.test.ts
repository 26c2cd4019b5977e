/**
 * The scripts for PyTorch users against a real PyTorch and the real command: Debian's python3-torch, which CI installs.
 * Elsewhere a machine without it skips, and says so.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const python = "/usr/bin/python3";
const root = fileURLToPath(new URL("..", import.meta.url));
const probe = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], {
  encoding: "utf8",
});
const version = probe.status === 0 ? probe.stdout.trim() : null;

const command = [
  process.execPath,
  "--conditions=millrace:source",
  "--import",
  "tsx",
  "packages/cli/src/main.ts",
];
const python3 = (...words: readonly string[]) =>
  spawnSync(python, words, {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, OMP_NUM_THREADS: "1", PYTHONDONTWRITEBYTECODE: "1" },
  });

// A CI that lost its package must not pass.
const absent = version === null && process.env.CI === undefined;

test.skipIf(absent)(
  `python/millrace_memory.py plans, applies and verifies on torch ${version ?? "(python3-torch is not installed: skipped)"}`,
  { timeout: 190_000 },
  () => {
    const done = python3("python/test_millrace_memory.py", ...command);
    expect(done.status, done.stderr).toBe(0);
    expect(JSON.parse(done.stdout.trim().split("\n").at(-1) ?? "")).toMatchObject({ failed: 0 });
  },
);

test.skipIf(absent)(
  `python/millrace_trace.py writes what millrace memory plan reads (torch ${version ?? "is not installed: skipped"})`,
  { timeout: 120_000 },
  () => {
    const folder = mkdtempSync(join(tmpdir(), "torch-trace-"));
    try {
      const file = join(folder, "net.json");
      const done = python3("python/test_millrace_trace.py", file);
      expect(done.status, done.stderr).toBe(0);
      const [program = "", ...words] = command;
      const plan = spawnSync(
        program,
        [...words, "memory", "plan", file, "--budget", "80%", "--effort", "low", "--json"],
        { cwd: root, encoding: "utf8" },
      );
      expect(plan.status, plan.stderr).toBe(0);
      const report = JSON.parse(plan.stdout);
      expect(report.feasible).toBe(true);
      expect(report.peak).toBeLessThanOrEqual(report.budget);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

test.skipIf(absent)(
  `millrace memory plan reads what torch.onnx exports, at any batch (torch ${version ?? "is not installed: skipped"})`,
  { timeout: 120_000 },
  () => {
    const folder = mkdtempSync(join(tmpdir(), "torch-onnx-"));
    try {
      const [program = "", ...words] = command;
      const peaks: number[] = [];
      for (const [mode, batches] of [
        ["train", [8, 16]],
        ["eval", [8]],
      ] as const) {
        const file = join(folder, `${mode}.onnx`);
        const done = python3("tests/support/export-onnx.py", file, mode);
        expect(done.status, done.stderr).toBe(0);
        for (const batch of batches) {
          const flags = ["--batch", `${batch}`, "--budget", "80%", "--effort", "low", "--json"];
          const plan = spawnSync(program, [...words, "memory", "plan", file, ...flags], {
            cwd: root,
            encoding: "utf8",
          });
          expect(plan.status, plan.stderr).toBe(0);
          const report = JSON.parse(plan.stdout);
          expect(report.feasible).toBe(true);
          expect(report.peak).toBeLessThanOrEqual(report.budget);
          expect(report.minBudget).toBeLessThanOrEqual(report.peak);
          peaks.push(report.storeAll.peak);
        }
      }
      // Activations double, parameters do not.
      const [few = 0, many = 0] = peaks;
      expect(many / few).toBeGreaterThan(1.5);
      expect(many / few).toBeLessThan(2);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
