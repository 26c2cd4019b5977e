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
  { timeout: 120_000 },
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
