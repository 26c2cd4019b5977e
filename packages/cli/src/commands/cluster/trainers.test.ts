import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type JournalEvent, runFiles } from "@millrace/cluster/run";
import { afterAll, expect, test } from "vitest";
import { millrace } from "../../testing.conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "cluster-trainers-"));
afterAll(() => rmSync(folder, { recursive: true, maxRetries: 5 }));

/** The program from source, as a job's command. */
const program = [
  process.execPath,
  "--conditions=millrace:source",
  "--import",
  pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href,
  fileURLToPath(new URL("../../main.ts", import.meta.url)),
];

/** A cluster of two places, both of which each job takes; the second job may only run when the first has made room. */
async function preempted(name: string, trainer: readonly string[]) {
  const dir = join(folder, name);
  mkdirSync(dir);
  const file = {
    cluster: {
      name,
      policy: "srtf",
      round: "1s",
      bound: "taskset",
      servers: [{ name: "here", gpus: 2, cpus: 2, hostMemory: "2GB" }],
    },
    jobs: [
      {
        id: "trainer",
        command: [...program, ...trainer],
        gpus: 2,
        duration: "1h",
        preemptible: true,
        restartCost: 0,
        retries: 0,
      },
      { id: "urgent", command: ["true"], gpus: 2, duration: "1s", arrive: 0.5 },
    ],
  };
  const path = join(dir, "jobs.yaml");
  writeFileSync(path, JSON.stringify(file));
  const state = join(dir, "state");
  const ran = await millrace("cluster", "run", path, "--state", state, "--json");
  const log = readFileSync(join(state, "logs/trainer.log"), "utf8");
  expect(ran.exit, `${ran.err}\n${log}`).toBe(0);
  const events = readFileSync(runFiles(state).journal, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as JournalEvent);
  return { result: JSON.parse(ran.out), events, log };
}

/** The order of what happened to the two jobs. */
const storyOf = (events: readonly JournalEvent[]): string[] =>
  events.flatMap((event) => {
    if (!("id" in event)) return [];
    if (event.kind === "ordered") return [`${event.id} starts ${event.attempt}`];
    if (event.kind === "asked") return [`${event.id} is asked to stop`];
    if (event.kind === "ended") return [`${event.id} ends: ${event.as}`];
    return [];
  });

const expectPreempted = (events: readonly JournalEvent[]): void => {
  expect(storyOf(events)).toEqual([
    "trainer starts 1",
    "trainer is asked to stop",
    "trainer ends: stopped",
    "urgent starts 1",
    "urgent ends: complete",
    "trainer starts 2",
    "trainer ends: complete",
  ]);
  const asked = events.findIndex((event) => event.kind === "asked");
  expect(events.slice(0, asked).some((event) => event.kind === "checkpointed")).toBe(true);
};

test("extreme train reports, is stopped after a checkpoint, and goes on to the very same model", async () => {
  const data = join(folder, "data");
  const make = ["--labels", "2000", "--test-points", "50", "--seed", "1"];
  expect((await millrace("extreme", "generate", ...make, "-o", data)).exit).toBe(0);
  const train = (out: string) => [
    ...["extreme", "train", "--data", data, "--out", out, "--epochs", "5", "--dim", "32"],
    ...["--seed", "7", "--no-test", "--json", "--resume"],
  ];
  const out = join(folder, "stopped");
  const { events, result, log } = await preempted("extreme", train(out));
  expectPreempted(events);
  expect(result.jobs[0]).toMatchObject({ id: "trainer", state: "done", attempt: 2 });
  const resumed = JSON.parse(log.trim().split("\n").at(-1) ?? "") as { resumedFrom: number };
  expect(resumed.resumedFrom).toBeGreaterThan(0);
  // Steps are counted over both starts.
  const reported = events.filter((event) => event.kind === "progress");
  const steps = reported.map(({ step }) => step);
  expect(steps).toEqual([...steps].sort((a, b) => a - b));
  // --resume without a snapshot starts afresh, here without anybody in the way.
  const straight = join(folder, "straight");
  expect((await millrace(...train(straight))).exit).toBe(0);
  const digest = (of: string) =>
    createHash("sha256")
      .update(readFileSync(join(of, "epoch-0005/embedding.f32")))
      .digest("hex");
  expect(digest(out)).toBe(digest(straight));
}, 60_000);

test("memory run reports, is stopped after a checkpoint, and goes on to the very same parameters", async () => {
  // The same measured costs give the same plan, and with it the same bits.
  const costs = join(folder, "costs.json");
  const train = (steps: number, out: string) => [
    ...["memory", "run", "--model", "gpt-small", "--batch", "8", "--layers", "1", "--width", "32"],
    ...["--dropout", "0.1", "--budget", "80%", "--measure", "1ms", "--costs", costs],
    ...["--steps", String(steps), "--checkpoint", out, "--checkpoint-every", "5"],
    ...["--no-compare", "--resume", "--json"],
  ];
  expect((await millrace(...train(2, join(folder, "measured")))).exit).toBe(0);
  const steps = 200;
  const out = join(folder, "stopped-run");
  const { events, result, log } = await preempted("memory", train(steps, out));
  expectPreempted(events);
  expect(result.jobs[0]).toMatchObject({ id: "trainer", state: "done", attempt: 2 });
  const resumed = JSON.parse(log.trim().split("\n").at(-1) ?? "") as { resumedFrom: number };
  expect(resumed.resumedFrom).toBeGreaterThan(0);
  expect(resumed.resumedFrom).toBeLessThan(steps);
  const reported = events.filter((event) => event.kind === "progress").map(({ step }) => step);
  expect(reported).toEqual([...reported].sort((a, b) => a - b));
  expect(reported.at(-1)).toBe(steps);
  const straight = join(folder, "straight-run");
  expect((await millrace(...train(steps, straight))).exit).toBe(0);
  const tensors = (of: string) => readFileSync(join(of, "step-00000200/tensors.f32"));
  expect(tensors(out).equals(tensors(straight))).toBe(true);
}, 120_000);
