import { writeFileSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { isRunning } from "@millrace/system";
import { afterEach, beforeEach, expect, test } from "vitest";
import { attemptFolder, readAttempt } from "../runners/local/records.ts";
import type { Runner } from "../runners/runner.ts";
import { runFiles } from "./charge.ts";
import { LocalRun, stay } from "./local-run.conformance.ts";
import { statusFromJournal } from "./open-run.ts";
import { cancelWithoutScheduler, drainWithoutScheduler } from "./without-scheduler.ts";

let local: LocalRun;
beforeEach(() => {
  local = new LocalRun([
    { name: "here", gpus: 2, cpus: 2, hostBytes: 2e9 },
    { name: "spare", gpus: 1, cpus: 1, hostBytes: 1e9 },
  ]);
});
afterEach(() => local[Symbol.asyncDispose]());

const begun =
  (...ids: readonly string[]) =>
  (): boolean =>
    ids.every((id) => local.marks(id) > 0);
const recordsOf = (id: string) => readAttempt(attemptFolder(runFiles(local.folder).runner, id, 1));

test("jobs are cancelled without a scheduler: those that run are ended, by force where they are deaf; others go on", async () => {
  const jobs = [
    { id: "soft", command: local.marking("soft", stay), grace: 5 },
    {
      id: "deaf",
      command: local.marking("deaf", `trap '' TERM; ${stay}`),
      grace: 0.3,
    },
    {
      id: "kept",
      command: local.marking("kept", `while [ ! -e ${local.file("go")} ]; do sleep 0.02; done`),
    },
    { id: "waits", command: local.marking("waits", "exit 0"), gpus: 2 },
  ];
  await local.run(jobs, { leaves: begun("soft", "deaf", "kept") });
  const [soft, deaf, kept] = ["soft", "deaf", "kept"].map((id) => recordsOf(id).child);
  const done = await cancelWithoutScheduler(local.absent(), ["soft", "deaf", "waits"]);
  expect(done).toEqual({ cancelled: ["soft", "deaf", "waits"], pending: [], problem: null });
  for (const process of [soft, deaf]) expect(process && isRunning(process)).toBe(false);
  expect(kept && isRunning(kept)).toBe(true);
  expect(local.states()).toEqual({
    soft: "cancelled",
    deaf: "cancelled",
    kept: "running",
    waits: "cancelled",
  });
  // The next scheduler takes up what was left, and starts nothing that was cancelled.
  writeFileSync(local.file("go"), "");
  await local.run(jobs);
  expect(local.states()).toMatchObject({ soft: "cancelled", kept: "done", waits: "cancelled" });
  expect(local.marks("kept")).toBe(1);
  expect(local.marks("waits")).toBe(0);
});

test("a job that ended while nobody looked keeps its own verdict; then nothing at all is cancelled", async () => {
  const gate = local.file("go");
  const jobs = [
    { id: "ends", command: local.marking("ends", `while [ ! -e ${gate} ]; do sleep 0.02; done`) },
    { id: "stays", command: local.marking("stays", stay), grace: 1 },
  ];
  await local.run(jobs, { leaves: begun("ends", "stays") });
  writeFileSync(gate, "");
  const exit = () => recordsOf("ends").exit;
  await expect.poll(exit).not.toBe(null);
  await expect(cancelWithoutScheduler(local.absent(), ["stays", "ends"])).rejects.toThrow(
    /job ends has ended already: done/,
  );
  expect(local.states()).toEqual({ ends: "done", stays: "running" });
  await expect(cancelWithoutScheduler(local.absent(), ["nobody"])).rejects.toThrow(/no job nobody/);
});

test("an engine that does not answer leaves the order on disk, and the next scheduler carries it out", async () => {
  await local.run([{ id: "one", command: local.marking("one", stay), grace: 1 }], {
    leaves: begun("one"),
  });
  const mute = async (_: unknown, state: string): Promise<Runner> => {
    const runner = await local.open(null, state);
    runner.observe = async () => {
      throw new MillraceError("RUNNER_FAILED", "the engine does not answer");
    };
    return runner;
  };
  expect(await cancelWithoutScheduler(local.absent({ open: mute }), ["one"])).toEqual({
    cancelled: [],
    pending: ["one"],
    problem: "the engine does not answer",
  });
  expect(statusFromJournal(local.folder)?.jobs[0]).toMatchObject({
    state: "stopping",
    reason: "it is being cancelled",
  });
  await local.run([{ id: "one", command: ["true"] }]);
  expect(local.states()).toEqual({ one: "cancelled" });
});

test("a server drained without a scheduler takes nothing in the next one, until that is taken back", async () => {
  const first = [{ id: "first", command: local.marking("first", stay), gpus: 2, grace: 1 }];
  await local.run(first, { leaves: begun("first") });
  expect(await drainWithoutScheduler(local.absent(), "here", true)).toEqual({
    running: ["first"],
    problem: null,
  });
  await expect(drainWithoutScheduler(local.absent(), "there", true)).rejects.toThrow(
    /no server there/,
  );
  await cancelWithoutScheduler(local.absent(), ["first"]);
  const jobs = [
    { id: "wide", command: local.marking("wide", "exit 0"), gpus: 2 },
    { id: "small", command: local.marking("small", "exit 0") },
  ];
  const status = await local.run(jobs, {
    leaves: ({ jobs: all }) => all.some(({ id, state }) => id === "small" && state === "done"),
  });
  expect(status.draining).toEqual(["here"]);
  expect(local.marks("wide")).toBe(0);
  const small = local.events().find((event) => event.kind === "ordered" && event.id === "small");
  expect(small).toMatchObject({ slices: [{ server: "spare" }] });
  // Nothing runs and nothing starts: there is nothing to write.
  expect(await drainWithoutScheduler(local.absent(), null, true)).toEqual({
    running: [],
    problem: null,
  });
  await drainWithoutScheduler(local.absent(), "here", false);
  await local.run(jobs);
  expect(local.marks("wide")).toBe(1);
});

test("while a scheduler runs, and in a folder without one, the orders are refused", async () => {
  await expect(cancelWithoutScheduler(local.absent(), ["one"])).rejects.toThrow(/no cluster in/);
  let refused: Promise<unknown> | null = null;
  const leaves = (): boolean => {
    if (local.marks("one") === 0) return false;
    refused ??= cancelWithoutScheduler(local.absent(), ["one"]).catch((error: unknown) => error);
    return true;
  };
  await local.run([{ id: "one", command: local.marking("one", stay), grace: 1 }], { leaves });
  expect(await refused).toMatchObject({ code: "SCHEDULER_FENCED" });
});

test("jobs that run on one engine are not started a second time on another", async () => {
  const jobs = [{ id: "one", command: local.marking("one", stay), grace: 1 }];
  await local.run(jobs, { leaves: begun("one") });
  const other = await local.open();
  Object.assign(other, { engine: { ...other.engine, host: "another-machine" } });
  await expect(local.run(jobs, { leaves: () => true, runner: other })).rejects.toThrow(
    /jobs of this cluster run on the machine .*, not on the machine another-machine: one/,
  );
  expect(local.marks("one")).toBe(1);
});
