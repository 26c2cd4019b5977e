/**
 * The script for PyTorch users against a real PyTorch and the real command. Debian's python3-torch is large (850 MB with
 * what it needs), so machines without it skip, and say so.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const python = "/usr/bin/python3";
const root = fileURLToPath(new URL("..", import.meta.url));
const probe = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], {
  encoding: "utf8",
});
const version = probe.status === 0 ? probe.stdout.trim() : null;

test.skipIf(version === null)(
  `python/millrace_memory.py plans, applies and verifies on torch ${version ?? "(python3-torch is not installed: skipped)"}`,
  { timeout: 120_000 },
  () => {
    const command = [
      process.execPath,
      "--conditions=millrace:source",
      "--import",
      "tsx",
      "packages/cli/src/main.ts",
    ];
    const done = spawnSync(python, ["python/test_millrace_memory.py", ...command], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, OMP_NUM_THREADS: "1", PYTHONDONTWRITEBYTECODE: "1" },
    });
    expect(done.status, done.stderr).toBe(0);
    expect(JSON.parse(done.stdout.trim().split("\n").at(-1) ?? "")).toMatchObject({ failed: 0 });
  },
);
