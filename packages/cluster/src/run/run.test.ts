import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Rng } from "@millrace/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LocalRunner } from "../runners/local/local-runner.ts";
import { runFiles } from "./charge.ts";
import { askScheduler } from "./control.ts";
import { type JobsFile, jobsFileSchema } from "./jobs-file.ts";
import { type JournalEvent, readJournal } from "./journal.ts";
import { runCluster, statusFromJournal } from "./open-run.ts";
import type { Desired } from "./planning.ts";
import type { ClusterStatus } from "./snapshot.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "millrace-run-"));
});
afterEach(() => rmSync(dir, { recursive: true, maxRetries: 5 }));

const folder = () => join(dir, "run");
const events = (): readonly JournalEvent[] => readJournal(runFiles(folder()).journal).events;
const marks = (id: string): number => {
  const path = join(dir, `${id}.mark`);
  return existsSync(path) ? readFileSync(path, "utf8").length : 0;
};
const mark = (id: string, then: string) => [
  "sh",
  "-c",
  `echo >> ${join(dir, `${id}.mark`)}; ${then}`,
];

type Entry = JobsFile["jobs"][number];
type Job = { readonly [K in keyof Omit<Entry, "command">]?: Entry[K] | undefined } & {
  readonly id: string;
  readonly command: readonly string[];
};

/** A training program that takes its lease: steps of 10 ms, a checkpoint every so many, at a request to stop one more. */
function trainer(id: string, steps: number, checkpointEvery: number): string[] {
  const code = `
    const { connect } = require("node:net"), fs = require("node:fs");
    const file = ${JSON.stringify(join(dir, `${id}.saved`))};
    fs.appendFileSync(${JSON.stringify(join(dir, `${id}.mark`))}, "\\n");
    let step = fs.existsSync(file) ? Number(fs.readFileSync(file, "utf8")) : 0, saved = step, asked = false, n = 1;
    const socket = connect(process.env.MILLRACE_LEASE);
    const say = (m) => socket.write(JSON.stringify(m) + "\\n");
    const save = () => { fs.writeFileSync(file, String(step)); saved = step; say({ kind: "checkpointed", id: n++, step, dir: file }); };
    say({ kind: "hello", token: process.env.MILLRACE_LEASE_TOKEN, pid: process.pid });
    let rest = "";
    socket.on("data", (d) => {
      const lines = (rest + d).split("\\n"); rest = lines.pop();
      for (const line of lines) {
        const m = JSON.parse(line);
        if (m.kind === "stop" && !asked) { asked = true; save(); }
        if (m.kind === "acknowledged" && asked) process.exit(0);
      }
    });
    setInterval(() => {
      if (asked) return;
      step++; say({ kind: "report", step, computeSeconds: 0.01, waitSeconds: 0, samples: 1 });
      if (step % ${checkpointEvery} === 0) save();
      if (step >= ${steps}) process.exit(0);
    }, 10);`;
  return [process.execPath, "-e", code];
}

async function run(
  jobs: readonly Job[],
  more: {
    readonly cluster?: object;
    readonly signal?: AbortSignal;
    readonly onStatus?: (status: ClusterStatus) => void;
    readonly onPlan?: (desired: Desired) => void;
  } = {},
) {
  const path = join(dir, "jobs.json");
  const cluster = { policy: "srtf", allocator: "waterfill", round: 0.5, ...more.cluster };
  const text = JSON.stringify({ cluster, jobs });
  writeFileSync(path, text);
  const content = jobsFileSchema.parse(JSON.parse(text));
  const notes: string[] = [];
  const runner = new LocalRunner({
    state: runFiles(folder()).runner,
    cluster: `run-${process.pid}`,
    servers: [{ name: "here", gpus: 2, cpus: 2, hostBytes: 2e9 }],
    bound: "taskset",
  });
  const outcome = await runCluster({
    folder: folder(),
    file: { path, content },
    models: new Map(),
    runner,
    note: (text) => notes.push(text),
    signal: more.signal ?? new AbortController().signal,
    ...(more.onStatus && { onStatus: more.onStatus }),
    ...(more.onPlan && { onPlan: more.onPlan }),
  });
  return { ...outcome, notes };
}

const verdicts = (status: ClusterStatus) =>
  Object.fromEntries(status.jobs.map((job) => [job.id, job.state]));

test("jobs run to their verdicts: done, failed after retries, rejected by name; others go on", async () => {
  const { ended, status, notes } = await run([
    { id: "good", command: mark("good", "exit 0") },
    { id: "bad", command: mark("bad", "exit 7"), retries: 1 },
    { id: "unknown", command: ["true"], model: "no-such-model" },
    { id: "huge", command: ["true"], gpus: 3 },
    { id: "missing", command: [join(dir, "nothing-here")], retries: 0 },
    { id: "late", command: mark("late", "exit 0"), arrive: 0.3, gpus: 2 },
  ]);
  expect(ended).toBe("finished");
  expect(verdicts(status)).toEqual({
    good: "done",
    bad: "failed",
    unknown: "rejected",
    huge: "rejected",
    missing: "failed",
    late: "done",
  });
  expect([marks("good"), marks("bad"), marks("late")]).toEqual([1, 2, 1]);
  expect(notes.join("\n")).toMatch(
    /unknown is rejected: there is no profile of model no-such-model/,
  );
  expect(notes.join("\n")).toMatch(/huge is rejected: it needs 3 GPUs/);
  expect(notes.join("\n")).toMatch(/bad failed: it ended with exit code 7/);
  expect(status.jobs.find((job) => job.id === "missing")?.reason).toMatch(/did not start.*ENOENT/);
  // The journal alone tells the same.
  expect(verdicts(statusFromJournal(folder()) as ClusterStatus)).toEqual(verdicts(status));
});

test("a job is preempted only after a checkpoint was acknowledged since its start, and goes on from it", async () => {
  const { status } = await run([
    {
      id: "long",
      command: trainer("long", 300, 20),
      gpus: 2,
      samples: 300,
      preemptible: true,
      restartCost: 0,
    },
    { id: "short", command: mark("short", "sleep 0.2"), gpus: 2, duration: 0.2, arrive: 1.2 },
  ]);
  expect(verdicts(status)).toEqual({ long: "done", short: "done" });
  const told = events();
  const at = (kind: string, id: string) =>
    told.findIndex((event) => event.kind === kind && "id" in event && event.id === id);
  const asked = at("asked", "long");
  expect(asked).toBeGreaterThan(at("checkpointed", "long"));
  // Between asking and the end there is the checkpoint that it was asked for.
  const end = told.findIndex((event) => event.kind === "ended" && event.id === "long");
  expect(told.slice(asked, end).some((event) => event.kind === "checkpointed")).toBe(true);
  expect(told[end]).toMatchObject({ as: "stopped" });
  expect(at("ordered", "short")).toBeGreaterThan(end);
  expect(marks("long")).toBe(2);
  // 300 steps in all, over both starts.
  const last = told.filter((event) => event.kind === "checkpointed").at(-1);
  expect(last).toMatchObject({ id: "long" });
  expect(Number(readFileSync(join(dir, "long.saved"), "utf8"))).toBeGreaterThanOrEqual(280);
});

test("a job that is not preemptible, or has saved nothing, is left alone", async () => {
  const { status } = await run([
    { id: "fixed", command: trainer("fixed", 60, 10), gpus: 1, samples: 60 },
    {
      id: "unsaved",
      command: trainer("unsaved", 60, 1000),
      gpus: 1,
      samples: 60,
      preemptible: true,
    },
    { id: "short", command: mark("short", "exit 0"), gpus: 2, duration: 0.1, arrive: 0.1 },
  ]);
  expect(verdicts(status)).toEqual({ fixed: "done", unsaved: "done", short: "done" });
  expect(events().some((event) => event.kind === "asked")).toBe(false);
  expect([marks("fixed"), marks("unsaved")]).toEqual([1, 1]);
});

test("status, cancel and drain reach a running scheduler; it leaves, comes back, and goes on", async () => {
  const leave = new AbortController();
  const stays = (id: string) => mark(id, "exec sleep 100");
  const jobs = [
    { id: "one", command: stays("one") },
    { id: "two", command: stays("two") },
    { id: "three", command: mark("three", "exit 0"), arrive: 0.2 },
  ];
  const control = runFiles(folder()).control;
  let both: () => void = () => {};
  const running = new Promise<void>((resolve) => {
    both = resolve;
  });
  const onStatus = (status: ClusterStatus): void => {
    if (status.jobs.filter((job) => job.state === "running").length === 2) both();
  };
  const first = run(jobs, { signal: leave.signal, onStatus });
  await running;
  const status = (await askScheduler(control, { verb: "status" })) as ClusterStatus;
  expect(status).toMatchObject({ scheduler: { running: true, fence: 1 } });
  expect(status.servers[0]).toMatchObject({ heldGpus: 2 });
  await expect(run(jobs)).rejects.toMatchObject({ code: "SCHEDULER_FENCED" });
  await expect(askScheduler(control, { verb: "cancel", ids: ["nobody"] })).rejects.toThrow(
    /no job/,
  );
  await expect(askScheduler(control, { verb: "drain", server: "there", on: true })).rejects.toThrow(
    /no server there/,
  );
  leave.abort();
  expect((await first).ended).toBe("left");
  expect(await askScheduler(control, { verb: "status" })).toBe(null);
  // The jobs went on meanwhile; the next scheduler finds the same processes.
  const second = run(jobs, {
    onStatus: (now) => {
      if (now.scheduler.plans > 0 && now.jobs.some((job) => job.state === "running"))
        void askScheduler(control, { verb: "cancel", ids: ["one", "two"] }).catch(() => {});
    },
  });
  const { ended, status: last } = await second;
  expect(ended).toBe("finished");
  expect(verdicts(last)).toEqual({ one: "cancelled", two: "cancelled", three: "done" });
  expect([marks("one"), marks("two"), marks("three")]).toEqual([1, 1, 1]);
});

test("a drained cluster starts nothing and ends when what runs has ended", async () => {
  const control = runFiles(folder()).control;
  let asked = false;
  const { ended, status } = await run(
    [
      { id: "runs", command: mark("runs", "sleep 0.5"), gpus: 2 },
      { id: "waits", command: mark("waits", "exit 0"), gpus: 2, duration: 7200 },
    ],
    {
      cluster: { policy: "fifo" },
      onStatus: ({ jobs }) => {
        if (asked || !jobs.some((job) => job.state === "running")) return;
        asked = true;
        void askScheduler(control, { verb: "drain", server: null, on: true });
      },
    },
  );
  expect(ended).toBe("drained");
  expect(verdicts(status)).toEqual({ runs: "done", waits: "waiting" });
  expect(marks("waits")).toBe(0);
});

test("a torn last line of the journal never counted; a damaged one stops the scheduler", async () => {
  await run([{ id: "good", command: mark("good", "exit 0") }]);
  const { journal } = runFiles(folder());
  const whole = events().length;
  appendFileSync(journal, '{"at":1,"kind":"finis');
  expect(events().length).toBe(whole);
  const { status } = await run([{ id: "good", command: ["false"] }]);
  expect(verdicts(status)).toEqual({ good: "done" });
  expect(marks("good")).toBe(1);
  writeFileSync(journal, `nonsense\n${readFileSync(journal, "utf8")}`);
  await expect(run([{ id: "good", command: ["false"] }])).rejects.toMatchObject({
    code: "JOURNAL_INVALID",
  });
});

test("a crash right behind the end of a start finds the job's story ended as well", async () => {
  const jobs = [
    { id: "good", command: mark("good", "exit 0") },
    { id: "bad", command: mark("bad", "exit 7"), retries: 0 },
    { id: "never", command: ["true"], gpus: 3 },
  ];
  await run(jobs);
  const { journal } = runFiles(folder());
  const lines = readFileSync(journal, "utf8").trimEnd().split("\n");
  const last = events().findLastIndex(({ kind }) => kind === "ended" || kind === "arrived");
  writeFileSync(journal, `${lines.slice(0, last + 1).join("\n")}\n`);
  const { status } = await run(jobs);
  expect(verdicts(status)).toEqual({ good: "done", bad: "failed", never: "rejected" });
  expect([marks("good"), marks("bad")]).toEqual([1, 1]);
  const first = events().find((event) => event.kind === "ended");
  expect(first).toMatchObject({ verdict: expect.stringMatching(/done|failed/) });
});

test("a scheduler that is killed anywhere comes back without losing or doubling a job", async () => {
  const rng = new Rng(`kill ${process.env["MILLRACE_FUZZ_SEED"] ?? 1}`);
  const ids = Array.from({ length: 9 }, (_, i) => `job-${i}`);
  const jobs = ids.map((id, i) => ({
    id,
    command: mark(id, `sleep 0.${1 + (i % 4)}`),
    gpus: 1 + (i % 2),
    arrive: 0.15 * i,
    retries: 0,
  }));
  writeFileSync(join(dir, "jobs.json"), JSON.stringify({ cluster: { round: 1 }, jobs }));
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const program = fileURLToPath(new URL("./scheduler-process.conformance.ts", import.meta.url));
  const start = (): ChildProcess =>
    spawn(process.execPath, ["--conditions=millrace:source", "--import", tsx, program, dir], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  let kills = 0;
  for (let tries = 0; tries < 6; tries++) {
    const child = start();
    const ended = once(child, "exit");
    const before = existsSync(runFiles(folder()).journal) ? events().length : 0;
    // After a random number of further lines in the journal, and a little: between any two of its acts.
    const lines = before + 1 + Math.floor(rng.next() * 6);
    while (
      child.exitCode === null &&
      (!existsSync(runFiles(folder()).journal) || events().length < lines)
    )
      await sleep(2);
    await sleep(rng.next() * 30);
    if (child.kill("SIGKILL")) kills++;
    await ended;
  }
  const last = start();
  let said = "";
  last.stdout?.on("data", (chunk: Buffer) => {
    said += chunk;
  });
  expect(await once(last, "exit")).toEqual([0, null]);
  expect(said).toBe("finished\n");
  expect(kills).toBeGreaterThanOrEqual(4);
  expect(verdicts(statusFromJournal(folder()) as ClusterStatus)).toEqual(
    Object.fromEntries(ids.map((id) => [id, "done"])),
  );
  // Every program ran once: no start was doubled. One whose keeper never began may have a second number, not a second run.
  expect(Object.fromEntries(ids.map((id) => [id, marks(id)]))).toEqual(
    Object.fromEntries(ids.map((id) => [id, 1])),
  );
}, 60_000);
