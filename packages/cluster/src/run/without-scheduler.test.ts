import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { isRunning } from "@millrace/system";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LocalRunner } from "../runners/local/local-runner.ts";
import { attemptFolder, readAttempt } from "../runners/local/records.ts";
import type { Runner } from "../runners/runner.ts";
import { runFiles } from "./charge.ts";
import { jobsFileSchema } from "./jobs-file.ts";
import { readJournal } from "./journal.ts";
import { runCluster, statusFromJournal } from "./open-run.ts";
import type { ClusterStatus } from "./snapshot.ts";
import {
  type AbsentTerms,
  cancelWithoutScheduler,
  drainWithoutScheduler,
} from "./without-scheduler.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "millrace-absent-"));
});
afterEach(async () => {
  // What a test left running ends with it.
  const left = statusFromJournal(folder())?.jobs.filter((job) => job.finishedAt === null) ?? [];
  if (left.length > 0)
    await cancelWithoutScheduler(
      terms(),
      left.map(({ id }) => id),
    );
  rmSync(dir, { recursive: true, maxRetries: 5 });
});

const folder = () => join(dir, "run");
const states = () =>
  Object.fromEntries((statusFromJournal(folder())?.jobs ?? []).map((job) => [job.id, job.state]));
const mark = (id: string, then: string) => [
  "sh",
  "-c",
  `echo >> ${join(dir, `${id}.mark`)}; ${then}`,
];
const marked = (id: string) => existsSync(join(dir, `${id}.mark`));
const stay = "while :; do sleep 0.05; done";

const open = async (state = runFiles(folder()).runner, name = "here"): Promise<LocalRunner> =>
  new LocalRunner({
    state,
    cluster: `absent-${process.pid}`,
    servers: [
      { name, gpus: 2, cpus: 2, hostBytes: 2e9 },
      { name: "spare", gpus: 1, cpus: 1, hostBytes: 1e9 },
    ],
    bound: "taskset",
  });

const terms = (over: Partial<AbsentTerms> = {}): AbsentTerms => ({
  folder: folder(),
  open: (_, state) => open(state),
  note: () => {},
  signal: new AbortController().signal,
  ...over,
});

type Job = { readonly id: string; readonly command: readonly string[] } & Readonly<
  Record<string, unknown>
>;

/** Runs the jobs until `leaves` holds, and leaves them to themselves then. */
async function runUntil(
  jobs: readonly Job[],
  leaves: (status: ClusterStatus) => boolean,
  runner?: Runner,
): Promise<ClusterStatus> {
  const path = join(dir, "jobs.json");
  writeFileSync(path, "");
  const content = jobsFileSchema.parse({ cluster: { policy: "fifo", round: 0.2 }, jobs });
  const leave = new AbortController();
  const { status } = await runCluster({
    folder: folder(),
    file: { path, content },
    models: new Map(),
    runner: runner ?? (await open()),
    note: () => {},
    signal: leave.signal,
    onStatus: (now) => {
      if (leaves(now)) leave.abort();
    },
  });
  return status;
}

const begun =
  (...ids: readonly string[]) =>
  (): boolean =>
    ids.every(marked);

test("jobs are cancelled without a scheduler: those that run are ended, by force where they are deaf; others go on", async () => {
  const jobs = [
    { id: "soft", command: mark("soft", stay), grace: 5 },
    {
      id: "deaf",
      command: ["sh", "-c", `trap '' TERM; echo >> ${dir}/deaf.mark; ${stay}`],
      grace: 0.3,
    },
    { id: "kept", command: mark("kept", `while [ ! -e ${dir}/go ]; do sleep 0.02; done`) },
    { id: "waits", command: mark("waits", "exit 0"), gpus: 2 },
  ];
  await runUntil(jobs, begun("soft", "deaf", "kept"));
  const child = (id: string) => readAttempt(attemptFolder(runFiles(folder()).runner, id, 1)).child;
  const [soft, deaf, kept] = ["soft", "deaf", "kept"].map(child);
  const done = await cancelWithoutScheduler(terms(), ["soft", "deaf", "waits"]);
  expect(done).toEqual({ cancelled: ["soft", "deaf", "waits"], pending: [], problem: null });
  for (const process of [soft, deaf]) expect(process && isRunning(process)).toBe(false);
  expect(kept && isRunning(kept)).toBe(true);
  expect(states()).toEqual({
    soft: "cancelled",
    deaf: "cancelled",
    kept: "running",
    waits: "cancelled",
  });
  // The next scheduler takes up what was left, and starts nothing that was cancelled.
  writeFileSync(join(dir, "go"), "");
  await runUntil(jobs, () => false);
  expect(states()).toMatchObject({ soft: "cancelled", kept: "done", waits: "cancelled" });
  expect(readFileSync(join(dir, "kept.mark"), "utf8").length).toBe(1);
  expect(marked("waits")).toBe(false);
});

test("a job that ended while nobody looked keeps its own verdict; then nothing at all is cancelled", async () => {
  const gate = join(dir, "go");
  const jobs = [
    { id: "ends", command: mark("ends", `while [ ! -e ${gate} ]; do sleep 0.02; done`) },
    { id: "stays", command: mark("stays", stay), grace: 1 },
  ];
  await runUntil(jobs, begun("ends", "stays"));
  writeFileSync(gate, "");
  const exit = () => readAttempt(attemptFolder(runFiles(folder()).runner, "ends", 1)).exit;
  await expect.poll(exit).not.toBe(null);
  await expect(cancelWithoutScheduler(terms(), ["stays", "ends"])).rejects.toThrow(
    /job ends has ended already: done/,
  );
  expect(states()).toEqual({ ends: "done", stays: "running" });
  await expect(cancelWithoutScheduler(terms(), ["nobody"])).rejects.toThrow(/no job nobody/);
});

test("an engine that does not answer leaves the order on disk, and the next scheduler carries it out", async () => {
  await runUntil([{ id: "one", command: mark("one", stay), grace: 1 }], begun("one"));
  const mute = async (_: unknown, state: string): Promise<Runner> => {
    const runner = await open(state);
    runner.observe = async () => {
      throw new MillraceError("RUNNER_FAILED", "the engine does not answer");
    };
    return runner;
  };
  expect(await cancelWithoutScheduler(terms({ open: mute }), ["one"])).toEqual({
    cancelled: [],
    pending: ["one"],
    problem: "the engine does not answer",
  });
  expect(statusFromJournal(folder())?.jobs[0]).toMatchObject({
    state: "stopping",
    reason: "it is being cancelled",
  });
  await runUntil([{ id: "one", command: ["true"] }], () => false);
  expect(states()).toEqual({ one: "cancelled" });
});

test("a server drained without a scheduler takes nothing in the next one, until that is taken back", async () => {
  const first = [{ id: "first", command: mark("first", stay), gpus: 2, grace: 1 }];
  await runUntil(first, begun("first"));
  expect(await drainWithoutScheduler(terms(), "here", true)).toEqual({
    running: ["first"],
    problem: null,
  });
  await expect(drainWithoutScheduler(terms(), "there", true)).rejects.toThrow(/no server there/);
  await cancelWithoutScheduler(terms(), ["first"]);
  const jobs = [
    { id: "wide", command: mark("wide", "exit 0"), gpus: 2 },
    { id: "small", command: mark("small", "exit 0") },
  ];
  const status = await runUntil(jobs, ({ jobs: all }) =>
    all.some(({ id, state }) => id === "small" && state === "done"),
  );
  expect(status.draining).toEqual(["here"]);
  expect(marked("wide")).toBe(false);
  const small = readJournal(runFiles(folder()).journal).events.find(
    (event) => event.kind === "ordered" && event.id === "small",
  );
  expect(small).toMatchObject({ slices: [{ server: "spare" }] });
  // Nothing runs and nothing starts: there is nothing to write.
  expect(await drainWithoutScheduler(terms(), null, true)).toEqual({ running: [], problem: null });
  await drainWithoutScheduler(terms(), "here", false);
  await runUntil(jobs, () => false);
  expect(marked("wide")).toBe(true);
});

test("while a scheduler runs, and in a folder without one, the orders are refused", async () => {
  await expect(cancelWithoutScheduler(terms(), ["one"])).rejects.toThrow(/no cluster in/);
  let refused: Promise<unknown> | null = null;
  await runUntil([{ id: "one", command: mark("one", stay), grace: 1 }], () => {
    if (!marked("one")) return false;
    refused ??= cancelWithoutScheduler(terms(), ["one"]).catch((error: unknown) => error);
    return true;
  });
  expect(await refused).toMatchObject({ code: "SCHEDULER_FENCED" });
});

test("jobs that run on one engine are not started a second time on another", async () => {
  const jobs = [{ id: "one", command: mark("one", stay), grace: 1 }];
  await runUntil(jobs, begun("one"));
  const other = await open();
  Object.assign(other, { engine: { ...other.engine, host: "another-machine" } });
  await expect(runUntil(jobs, () => true, other)).rejects.toThrow(
    /jobs of this cluster run on the machine .*, not on the machine another-machine: one/,
  );
  expect(readFileSync(join(dir, "one.mark"), "utf8").length).toBe(1);
});
