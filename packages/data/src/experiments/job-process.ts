/** The parent's side of a job's process: where it runs (cores, group, namespace) and what is asked of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MillraceError } from "@millrace/core";
import type { ControlGroup } from "@millrace/system";
import type { StorageModel } from "../storage/emulated-storage.ts";
import type { AccessPattern, StorageRate } from "../storage/measure-storage.ts";
import type { EpochReport, FromJob, JobSpec, ToJob } from "./job-protocol.ts";

/** Where a job runs. */
export interface JobPlace {
  /** Cores it is pinned to, by number; default all. */
  readonly cores?: readonly number[];
  /** Group that bounds it. */
  readonly group?: ControlGroup;
  /** Command line that its own is put behind, e.g. that of a network namespace. */
  readonly prefix?: readonly string[];
  /** Threads for reads, default 16. */
  readonly readThreads?: number;
}

const source = import.meta.url.endsWith(".ts");

/** A running job. Calls are made one at a time. */
export class JobProcess implements AsyncDisposable {
  readonly items: number;
  readonly datasetBytes: number;
  private readonly child: ChildProcess;

  private constructor(child: ChildProcess, items: number, datasetBytes: number) {
    this.child = child;
    this.items = items;
    this.datasetBytes = datasetBytes;
  }

  /** Starts the process and opens the job. Throws MillraceError ENVIRONMENT_MISSING with what the child said. */
  static async start(spec: JobSpec, place: JobPlace = {}): Promise<JobProcess> {
    const program = new URL(source ? "./job-child.ts" : "./job-child.js", import.meta.url);
    const flags = source
      ? [
          "--conditions=millrace:source",
          "--import",
          pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href,
        ]
      : [];
    const { cores, prefix = [], readThreads = 16 } = place;
    const command = [
      ...prefix,
      ...(cores === undefined ? [] : ["taskset", "-c", cores.join(",")]),
      process.execPath,
      // A young generation of fixed size: memory beside the caches is then about the same in every run.
      "--max-semi-space-size=4",
      ...flags,
      fileURLToPath(program),
    ];
    const child = spawn(command[0] as string, command.slice(1), {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
      env: { ...process.env, UV_THREADPOOL_SIZE: String(readThreads) },
    });
    try {
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", reject);
      });
      if (child.pid !== undefined) place.group?.add(child.pid);
      const ready = await ask(child, { kind: "open", spec }, "ready");
      return new JobProcess(child, ready.items, ready.datasetBytes);
    } catch (error) {
      child.kill("SIGKILL");
      if (error instanceof MillraceError) throw error;
      throw new MillraceError("ENVIRONMENT_MISSING", `${command[0]} cannot be started`, {
        cause: error,
      });
    }
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** Runs some batches uncounted, from then on with another emulated storage if one is given; see `aheadBatches`. */
  async warm(batches: number, storage?: StorageModel): Promise<void> {
    await ask(this.child, { kind: "warm", batches, ...(storage && { storage }) }, "warmed");
  }

  /** Runs the rest of the epoch it is in. */
  async epoch(samplesPerSecond: number): Promise<EpochReport> {
    return (await ask(this.child, { kind: "epoch", samplesPerSecond }, "epoch")).report;
  }

  /** Rates of the job's storage by size and depth; patterns that no file is large enough for are left out. */
  async storageRates(
    patterns: readonly AccessPattern[],
    seconds: number,
  ): Promise<readonly StorageRate[]> {
    return (await ask(this.child, { kind: "storage", patterns, seconds }, "storage")).rates;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    if (child.connected) child.send({ kind: "close" } satisfies ToJob);
    await ended;
  }
}

type Reply<K extends FromJob["kind"]> = Extract<FromJob, { kind: K }>;

/** Sends and waits for the answer, an error, or the process's end. */
async function ask<K extends FromJob["kind"]>(
  child: ChildProcess,
  message: ToJob,
  kind: K,
): Promise<Reply<K>> {
  const stop = new AbortController();
  try {
    const answers = [
      once(child, "message", { signal: stop.signal }),
      once(child, "exit", { signal: stop.signal }).then(([code, signal]) => [
        { kind: "failed", message: `the job ended (${signal ?? `exit code ${code}`})` },
      ]),
      once(child, "error", { signal: stop.signal }).then(([error]) => [
        { kind: "failed", message: String(error) },
      ]),
    ];
    // Those that lose the race are aborted below, which is no failure.
    for (const answer of answers) answer.catch(() => {});
    child.send(message);
    const [reply] = (await Promise.race(answers)) as [FromJob];
    if (reply.kind === kind) return reply as Reply<K>;
    const { message: text, hint } = reply as Reply<"failed">;
    throw new MillraceError("ENVIRONMENT_MISSING", `a job of the experiment failed: ${text}`, {
      hint: hint ?? "memory bounds that are too tight end a job: try a larger data set or slack",
    });
  } finally {
    stop.abort();
  }
}
