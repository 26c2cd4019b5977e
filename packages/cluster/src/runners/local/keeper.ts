/**
 * The program that keeps one attempt of a job: it starts the job's program, passes on the request to stop, kills after the
 * grace, and writes down how it ended. It runs as the job's user in a session of its own, so the scheduler may die and come
 * back. Started with the attempt's folder; says `ready`, begins only at the word
 * `go`, and says `begun` when the attempt is its own.
 */
import { spawn } from "node:child_process";
import { openSync } from "node:fs";
import { dirname } from "node:path";
import { makeFolder } from "@millrace/core/node";
import { identify, kill } from "@millrace/system/processes";
import type { Outcome } from "../runner.ts";
import { type AttemptOrder, claimAttempt, readRecord, writeRecord } from "./records.ts";

const folder = process.argv[2] as string;

function end(outcome: Outcome): never {
  writeRecord(folder, "exit.json", outcome);
  process.exit(0);
}

/** Starts the program; from here on this process lives as long as it does. */
function keep({ job, environment }: AttemptOrder): void {
  const self = identify(process.pid);
  // Somebody else decided about this attempt: a scheduler that came after ours.
  if (self === null || !claimAttempt(folder, self)) process.exit(0);
  process.stdout.write("begun\n");
  let log: number;
  try {
    makeFolder(dirname(job.logFile));
    log = openSync(job.logFile, "a", 0o644);
  } catch (error) {
    end({ kind: "not-started", reason: `its log: ${(error as Error).message}` });
  }
  const [program, ...args] = job.argv;
  const child = spawn(program, args, {
    cwd: job.directory,
    env: environment,
    detached: true,
    stdio: ["ignore", log, log],
  });
  const { pid } = child;
  let stopping = false;
  const stop = (): void => {
    if (stopping || pid === undefined) return;
    stopping = true;
    kill(-pid, "SIGTERM");
    setTimeout(() => kill(-pid, "SIGKILL"), job.graceSeconds * 1000);
  };
  process.on("SIGTERM", stop);
  child.on("error", (error: NodeJS.ErrnoException) => {
    // ENOENT is said of a missing folder too.
    if (pid === undefined)
      end({ kind: "not-started", reason: `${program} in ${job.directory}: ${error.message}` });
  });
  child.on("exit", (code, signal) => {
    // What the program left behind goes with it.
    if (pid !== undefined) kill(-pid, "SIGKILL");
    end(code === null ? { kind: "killed", signal: signal ?? "?" } : { kind: "exited", code });
  });
  const identity = pid === undefined ? null : identify(pid);
  if (identity !== null) writeRecord(folder, "child.json", identity);
}

// A terminal's Ctrl-C and a closed terminal are the scheduler's matter.
for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => {});
// Before the program is there, asking to stop ends in nothing being started.
const early = (): void => end({ kind: "killed", signal: "SIGTERM" });
process.once("SIGTERM", early);
let began = false;
process.stdin.on("data", () => {
  if (began) return;
  began = true;
  process.stdin.destroy();
  process.off("SIGTERM", early);
  const order = readRecord<AttemptOrder>(folder, "order.json");
  if (order === null) end({ kind: "not-started", reason: "its order cannot be read" });
  keep(order);
});
process.stdin.on("end", () => {
  if (!began) process.exit(0);
});
process.stdout.on("error", () => {});
process.stdout.write("ready\n");
