import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StepReport } from "@millrace/core/job";
import { LeaseServer } from "@millrace/core/node";
import { CheckpointFolder } from "@millrace/remat";
import { afterAll, expect, test, vi } from "vitest";
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
  expect(report.evaluation.loss).toBeGreaterThan(0);
  // Dropout and recomputation included, both plans compute one and the same function.
  report.planned.losses.forEach((loss: number, i: number) => {
    expect(Math.abs(loss - report.keepAll.losses[i])).toBeLessThan(1e-3);
  });
  expect(JSON.parse(readFileSync(costs, "utf8"))).toMatchObject({
    schema: "millrace.memory-costs/1",
  });
});

test("a run that a scheduler stops has a checkpoint acknowledged, and goes on bit for bit", async () => {
  const [socket, dir, costs] = ["lease", "checkpoints", "shared.json"].map((n) => join(folder, n));
  const flags = (steps: number): string[] => [
    ...["memory", "run", "--model", "gpt-small", ...small, "--no-compare", "--json"],
    ...["--layers", "1", "--budget", "100%", "--dropout", "0.1"],
    ...["--steps", String(steps), "--costs", costs!],
  ];
  const checkpoints: { step: number; dir: string }[] = [];
  const reports: StepReport[] = [];
  let stops = true;
  const server = await LeaseServer.listen({
    socket: socket!,
    admit: (token) => (token === "secret" ? { job: "job", uid: null } : null),
    report: (_job, report) => reports.push(report),
    checkpointed: async (_job, step, where) => {
      checkpoints.push({ step, dir: where });
      if (stops) server.askToStop("job", "somebody else's turn");
    },
  });
  await using _ = server;
  const leased = async (...argv: readonly string[]) => {
    server.grant("job", { cpus: 1, hostBytes: 1e9, cacheBytes: 0, gpus: [] });
    vi.stubEnv("MILLRACE_LEASE", socket);
    vi.stubEnv("MILLRACE_LEASE_TOKEN", "secret");
    const ran = await millrace(...argv);
    vi.unstubAllEnvs();
    server.release("job");
    return ran;
  };
  /** Steps at the end, and samples in all, of the reports since last asked. */
  const reported = () => {
    const all = reports.splice(0);
    return { step: all.at(-1)?.step, samples: all.reduce((sum, r) => sum + r.samples, 0) };
  };
  const stopped = await leased(...flags(2000), "--checkpoint", dir!, "--checkpoint-every", "2");
  expect(stopped.exit).toBe(130);
  const first = JSON.parse(stopped.out);
  expect(first).toMatchObject({ interrupted: true, resumedFrom: null });
  const last = checkpoints.at(-1)!;
  expect(checkpoints[0]!.step).toBe(2);
  expect(last.step).toBe(first.planned.losses.length);
  expect(reported()).toEqual({ step: last.step, samples: 8 * last.step });
  expect(existsSync(join(last.dir, "state.json"))).toBe(true);

  const again = await millrace(...flags(last.step + 5), "--checkpoint", dir!);
  expect(again.exit).toBe(4);
  expect(again.err).toMatch(/holds a checkpoint of step \d+ of another run/);
  const steps = last.step + 5;
  stops = false;
  const resumed = JSON.parse((await leased(...flags(steps), "--checkpoint", dir!, "--resume")).out);
  expect(resumed.resumedFrom).toBe(last.step);
  // Steps count over all starts, samples since the last report.
  expect(reported()).toEqual({ step: steps, samples: 8 * 5 });
  const straight = JSON.parse((await millrace(...flags(steps))).out);
  expect([...first.planned.losses, ...resumed.planned.losses]).toEqual(straight.planned.losses);
});

test("verify proves memory and gradients", async () => {
  const { exit, out } = await millrace("memory", "verify", "--model", "llama-small", ...small);
  expect(out.split("\n").filter((line) => line.startsWith("✗"))).toEqual([]);
  expect(exit).toBe(0);
  expect(out).toMatch(/✓ canaries: nothing written outside/);
  expect(out).toMatch(/✓ gradients/);
});

test("mistakes are told", async () => {
  const [bad, taken] = [join(folder, "bad.json"), join(folder, "taken")];
  const cases = [
    [["--model", "resnet"], 2, /no built-in training graph "resnet"/],
    [["--budget", "120%"], 2, /--budget: expected a share/],
    [["net.onnx"], 2, /net\.onnx is a file[\s\S]*memory plan net\.onnx[\s\S]*auto_checkpoint/],
    [["--model", "nets/net.onnx"], 2, /nets\/net\.onnx is a file/],
    [["--width", "30"], 2, /no multiple of 4 heads/],
    [
      ["--model", "gpt-small", ...small, "--budget", "1KiB"],
      3,
      /no plan of gpt-small fits 1024 bytes/,
    ],
    [["--model", "gpt-small", "--costs", bad], 2, /is no cost table: it is not JSON/],
    // Before anything is measured, not after the training.
    [["--export", join(bad, "x.safetensors")], 4, /a file of that name is in the way/],
    [["--save", folder], 4, /--save: .* is not empty/],
    [["--checkpoint", join(bad, "run")], 4, /a part of the path is a file|in the way/],
    [["--checkpoint", taken], 4, /process \d+ is writing checkpoints into/],
    [["--model", "gpt-small", "--export", join(folder, "x.gguf")], 2, /has no rope/],
  ] as const;
  writeFileSync(bad, "{");
  using _ = new CheckpointFolder(taken).lock();
  for (const [flags, exit, message] of cases) {
    const told = await millrace("memory", "run", ...flags);
    expect(told.err).toMatch(message);
    expect(told.exit).toBe(exit);
  }
  const verified = await millrace("memory", "verify", "net.onnx");
  expect(verified).toMatchObject({ exit: 2, err: expect.stringMatching(/net\.onnx is a file/) });
});
