import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const main = fileURLToPath(new URL("./main.ts", import.meta.url));
const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
const node = ["--conditions=millrace:source", "--import", tsx, main];
const environment = { ...process.env, NO_COLOR: "1", FORCE_COLOR: "" };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-main-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const millrace = (...argv: string[]) =>
  spawnSync(process.execPath, [...node, ...argv], {
    encoding: "utf8",
    cwd: folder,
    env: environment,
  });

test("exit codes and streams of the real process", () => {
  expect(millrace("--version")).toMatchObject({ status: 0, stderr: "" });
  const bad = millrace("smulate");
  expect(bad).toMatchObject({ status: 2, stdout: "" });
  expect(bad.stderr).toContain('did you mean "simulate"?');
});

test("a reader that stops early is no failure", async () => {
  const child = spawn(
    "sh",
    ["-c", `"${process.execPath}" ${node.join(" ")} models | head -1; echo`],
    {
      env: environment,
    },
  );
  let err = "";
  child.stderr.on("data", (data) => {
    err += data;
  });
  await once(child, "close");
  expect(err).not.toContain("EPIPE");
});

test("Ctrl-C of a plan: exit 130, finished runs kept, the same command goes on", async () => {
  const out = join(folder, "plan");
  writeFileSync(
    join(folder, "plan.yaml"),
    `model: llama-3-8b
load: { qps: 10 }
workload: azure-conv-2023
space: { devices: [a100], tensorParallel: [1, 2], pipelineParallel: [1], schedulers: [vllm-v1, sarathi-serve], chunkSizes: [512, 1024], batchSizeCaps: [64, 128] }
search: { confirmation: { requests: 2000, seeds: 1, finalists: 1 }, resolution: 0.2 }
`,
  );
  const argv = ["plan", "--config", "plan.yaml", "--out", out, "--workers", "1"];
  const child = spawn(process.execPath, [...node, ...argv], { cwd: folder, env: environment });
  let err = "";
  child.stderr.on("data", (data) => {
    err += data;
  });
  const runs = () => {
    try {
      return readdirSync(join(out, "runs")).length;
    } catch {
      return 0;
    }
  };
  const poll = setInterval(() => {
    if (runs() === 0) return;
    clearInterval(poll);
    child.kill("SIGINT");
  }, 20);
  const [code] = await once(child, "close");
  clearInterval(poll);
  if (code !== 0) {
    expect(code).toBe(130);
    expect(err).toContain("error[INTERRUPTED]");
    expect(err).toContain(join(out, "runs"));
  }
  const kept = runs();
  expect(kept).toBeGreaterThan(0);
  const again = millrace(...argv, "--json");
  expect(again.status).toBe(0);
  const result = JSON.parse(again.stdout);
  expect(result).toMatchObject({ schema: "millrace.plan/1", judged: 16, best: expect.any(Object) });
  expect(readFileSync(join(out, "report.html"), "utf8")).toContain("<html");
  expect(readdirSync(out).sort()).toEqual(["candidates.csv", "plan.json", "report.html", "runs"]);
}, 120_000);
