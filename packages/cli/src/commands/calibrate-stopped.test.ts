/** A calibration that comes to no result: stopped by hand, or with promises that nothing keeps. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { roughProfile } from "../calibration/rough-profile.conformance.ts";
import { millrace } from "../testing.conformance.ts";

let folder: string;
let words: readonly string[];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-calibrate-stopped-"));
  const [model, profile] = [join(folder, "tiny.gguf"), join(folder, "rough.json")];
  makeModel({ preset: "tiny", out: model });
  writeFileSync(profile, JSON.stringify(roughProfile));
  const engine =
    "--threads 1 --context 512 --kv-memory 64MiB --batch-size-cap 8 --chunk-size 64 --learn 1s";
  words = ["calibrate", "--quick", "-m", model, "--profile", profile, ...engine.split(" ")];
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Processes below one. */
function below(pid: number): readonly number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" ").filter(Boolean),
  );
  return children.map(Number).flatMap((child) => [child, ...below(child)]);
}

/** What a process runs; null where it has ended, also where nobody has asked for its exit code yet. */
function commandOf(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ") || null;
  } catch {
    return null;
  }
}

/** A calibration in a process of its own, once requests are on their way to its server. */
async function loaded(out: string) {
  const main = fileURLToPath(new URL("../main.ts", import.meta.url));
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const child: ChildProcess = spawn(
    process.execPath,
    ["--conditions=millrace:source", "--import", tsx, main, ...words, "--out", out],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let err = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const ended = once(child, "exit");
  // The engine writes a line per step.
  const log = join(out, "served", "timings.jsonl");
  await vi.waitFor(
    () => expect(existsSync(log) && readFileSync(log, "utf8").length).toBeGreaterThan(0),
    { timeout: 20_000, interval: 20 },
  );
  const running = below(child.pid as number);
  // The server, its engine, the client.
  expect(running.length).toBeGreaterThanOrEqual(3);
  const nothingRuns = (): Promise<void> =>
    vi.waitFor(() =>
      expect(running.map(commandOf).filter((command) => command !== null)).toEqual([]),
    );
  return { child, running, ended, said: () => err, nothingRuns };
}

describe.skipIf(process.platform !== "linux")("while the server is loaded", () => {
  test("Ctrl-C leaves nothing running, keeps the profile and says how to go on", async () => {
    const out = join(folder, "stopped");
    const { child, ended, said, nothingRuns } = await loaded(out);
    child.kill("SIGINT");
    expect(await ended).toEqual([130, null]);
    expect(said()).toContain("error[INTERRUPTED]");
    expect(said()).toContain(`--profile ${join(out, "profile.json")} goes on from there`);
    await nothingRuns();
    expect(readdirSync(out).sort()).toEqual(["profile.json", "served"]);
  });

  test("a server that ends by itself is told, and no figures are made of what it left", async () => {
    const out = join(folder, "ended");
    const { running, ended, said, nothingRuns } = await loaded(out);
    const server = running.find((pid) => / serve /.test(commandOf(pid) ?? ""));
    process.kill(server as number, "SIGKILL");
    expect(await ended).toEqual([1, null]);
    expect(said()).toContain("error[ENGINE_FAILED] the server ended by itself, SIGKILL");
    await nothingRuns();
    expect(existsSync(join(out, "result.json"))).toBe(false);
  });
});

test("promises that no setting keeps are told before a server is started", async () => {
  const out = join(folder, "nothing");
  const run = await millrace(...words, "--slo", "ttft.p50<=1us", "--out", out);
  expect(run.exit).toBe(3);
  expect(run.err).toContain("error[NOTHING_FITS] ttft.p50<=0.000001s is kept by no setting");
  expect(run.err).toContain("--rate");
  expect(existsSync(join(out, "served"))).toBe(false);
});
