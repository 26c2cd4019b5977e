import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { makeModel } from "@millrace/ggml/gguf";
import { parseStepProfile } from "@millrace/serving";
import type { PlanResult } from "@millrace/sim";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CalibrateResult } from "../calibration/result.ts";
import { millrace } from "../testing.conformance.ts";

let folder: string;
let model: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "millrace-calibrate-"));
  model = join(folder, "tiny.gguf");
  makeModel({ preset: "tiny", out: model });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the loop on a real server", () => {
  test("predicts, serves, measures: structure, equal decisions, nothing lost", async () => {
    const out = join(folder, "out");
    const words = "--quick --threads 1 --context 512 --kv-memory 64MiB --learn 4s --requests 60";
    const load =
      "--prompt-tokens 8..64 --output-tokens 2..12 --rate 60 --repeats 2 --batch-size-cap 8";
    const run = await millrace(
      "calibrate",
      "-m",
      model,
      ...words.split(" "),
      ...load.split(" "),
      "--out",
      out,
      "--json",
    );
    expect(run.err).not.toContain("error");
    expect(run.exit).toBe(0);
    const result = JSON.parse(run.out) as CalibrateResult;
    expect(result.schema).toBe("millrace.calibrate/1");
    expect(result.decisionsEqual).toBe(true);
    // sarathi-serve with four chunk sizes, vllm-v0, orca, and two other pages with the best of them; best first.
    expect(result.candidates).toHaveLength(8);
    const rates = result.candidates.map(({ qps }) => qps);
    expect(rates).toEqual([...rates].sort((a, b) => b - a));
    expect(result.winner).toEqual(result.candidates[0]?.knobs);
    expect(result.runs).toHaveLength(2);
    for (const run of result.runs) {
      const { predicted, measured, machine, replay, pairs, split, residuals, failed, unlogged } =
        run;
      expect([failed, unlogged]).toEqual([0, 0]);
      expect([predicted.completed, measured.completed]).toEqual([60, 60]);
      const { steps, compute, host } = run.stepParts;
      expect(steps).toBe(residuals[0]?.steps);
      expect(compute.measured).toBeGreaterThan(0);
      expect(host.measured).toBeGreaterThan(0);
      expect(replay.difference).toBeNull();
      // The loads before and after it are in the engine's log too.
      expect(replay.requests).toBeGreaterThan(64);
      // A speed that others disturbed is none.
      for (const speed of [machine.before, machine.after])
        if (speed !== null) expect(speed.all.steps).toBeGreaterThan(19);
      expect(pairs.ttft).toHaveLength(60);
      for (const [p, m] of [...pairs.ttft, ...pairs.e2e]) {
        expect(p).toBeGreaterThan(0);
        expect(m).toBeGreaterThan(0);
      }
      // A request's time is split without rest.
      const sum = Object.values(split.measured).reduce((total, part) => total + part, 0);
      const mean = pairs.e2e.reduce((total, [, m]) => total + m, 0) / pairs.e2e.length;
      expect(sum).toBeCloseTo(mean, 6);
      const phases = residuals.filter(({ by }) => by === "phase");
      expect(phases.reduce((total, { share }) => total + share, 0)).toBeCloseTo(1, 6);
    }
    const tokens = (side: "predicted" | "measured") =>
      result.runs.map((r) => r[side].outputTokensPerSecond * r[side].seconds);
    tokens("predicted").forEach((count, i) => {
      expect(Math.round(count)).toBe(Math.round(tokens("measured")[i] as number));
    });
    const profile = join(out, "profile.json");
    const learnt = parseStepProfile(readFileSync(profile, "utf8"), profile);
    expect(learnt.loop?.steps).toBeGreaterThan(200);
    expect(learnt.foreignCores).toBeGreaterThanOrEqual(0);
    expect(learnt.transport?.requests).toBeGreaterThan(10);
    expect(readFileSync(join(out, "report.html"), "utf8")).toContain("Request by request");
  }, 180_000);
});

test.each([
  [["--rate", "3", "--load", "0.5"], "exclude each other"],
  [["--schedulers", "sarathi-server"], "did you mean sarathi-serve?"],
  [["--slo", "fluidity>=0.9"], "a plan is not made by fluidity"],
  [["--slo", "ttft.p95<=1s"], "is not of p50, p90 or p99"],
  [["--learn", "soon"], "--learn"],
  [["--learn", "0s"], "--learn: nothing is learnt"],
  // Before anything is measured.
  [["--page-size", "3KiB"], "take a power of two"],
  [["--prompt-tokens", "600..700", "--context", "512"], "do not fit the context of 512 tokens"],
  [["--shape", "nowhere", "--quick"], "nowhere"],
])("wrong input %j is told", async (words, said) => {
  const run = await millrace("calibrate", "-m", model, ...words, "--out", join(folder, "no"));
  expect(run.exit).toBe(2);
  expect(run.err).toContain(said);
});

test("a profile is fitted to the raw run of a server that only shows its tokens", async () => {
  const { startMockProcess } = await import("@millrace/bench/mock");
  await using mock = await startMockProcess({ stepMs: 4, chunkTokens: 64 });
  const out = join(folder, "black");
  const words = "--rate 30 --requests 60 --prompt-tokens 8..100 --output-tokens 8..24 --warmup 1";
  const bench = await millrace("bench", "--url", mock.url, ...words.split(" "), "--out", out);
  expect(bench.exit).toBe(0);
  const file = join(folder, "black.json");
  const run = await millrace("profile", "--from", join(out, "run.jsonl"), "--out", file, "--json");
  expect(run.exit).toBe(0);
  const fit = JSON.parse(run.out);
  expect(fit.steps).toBeGreaterThan(200);
  // How near they come to the mock's 4 ms is a matter of the machine: the mock makes up for steps that came late.
  for (const { seconds, low, high } of fit.bands) {
    expect(seconds).toBeGreaterThan(0);
    expect(low).toBeLessThanOrEqual(high);
  }
  expect(parseStepProfile(readFileSync(file, "utf8"), file).points.length).toBe(fit.points);
  const none = await millrace("profile", "--from", model);
  expect(none.exit).toBe(2);

  // A plan that rests on it is a range, and a wider one for lengths that it has not seen.
  const { uncertainty, uncertaintyBeyond } = fit;
  expect(uncertainty).toBeGreaterThan(0);
  expect(uncertaintyBeyond).toBeGreaterThanOrEqual(2);
  for (const [prompt, error] of [
    ["{ min: 8, max: 100 }", uncertainty],
    ["{ min: 300, max: 600 }", uncertaintyBeyond],
  ] as const) {
    const config = join(folder, "plan.yaml");
    writeFileSync(config, planOf(file, prompt));
    // What ran is kept there, so that asking again costs nothing.
    const words = ["plan", "--config", config, "--workers", "1", "--out", join(folder, prompt)];
    const plan = await millrace(...words, "--json");
    expect(plan.err).not.toContain("error[");
    const { robust, notModelled } = JSON.parse(plan.out) as PlanResult;
    expect(robust.errorPercent).toBe(Math.min(300, Number((100 * error).toPrecision(2))));
    const { low, high } = robust.capacityQps ?? { low: 0, high: 0 };
    expect(low).toBeGreaterThan(0);
    expect(high).toBeGreaterThan(low);
    const unseen = notModelled.filter((text) => text.includes("the profile has not seen"));
    expect(unseen).toHaveLength(error === uncertaintyBeyond ? 1 : 0);
    const shown = await millrace(...words);
    const off = error > 0.9 ? "times as long, or as short" : "% either way";
    expect(shown.out).toContain("requests/s if step times are");
    expect(shown.out).toContain(off);
    const page = readFileSync(join(folder, prompt, "report.html"), "utf8");
    expect(page).toContain("A replica then carries");
    expect(page).toContain(off);
  }
}, 60_000);

/** A plan for one replica over the profile. */
function planOf(profile: string, prompt: string): string {
  return `model: llama-3-8b
load: { qps: 1 }
workload: { lengths: { type: range, prompt: ${prompt}, output: { min: 8, max: 24 } } }
predictor: { type: profile, path: ${profile} }
slo: { ttftMs: 2000, tbtMs: 200 }
space: { devices: [a100], tensorParallel: [1], pipelineParallel: [1], schedulers: [vllm-v1], chunkSizes: [512], batchSizeCaps: [32] }
search: { confirmation: { requests: 1000, seeds: 1, finalists: 1 }, screening: { requests: 1000 }, resolution: 0.2 }
`;
}

test("where the native library is missing, the exit code says so", () => {
  const main = fileURLToPath(new URL("../main.ts", import.meta.url));
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const run = spawnSync(
    process.execPath,
    ["--conditions=millrace:source", "--import", tsx, main, "calibrate", "-m", model, "--quick"],
    {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, MILLRACE_GGML_DIR: join(folder, "nowhere") },
    },
  );
  expect(run.stderr).toContain("hint");
  expect(run.status).toBe(4);
});
