/** Starts an attempt's keeper: as the job's user, inside its bounds, and only then lets it begin. */
import { type ChildProcess, spawn } from "node:child_process";
import { openSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MillraceError } from "@millrace/core";
import type { JobUser } from "../runner.ts";

/** How a keeper is started. */
export interface KeeperStart {
  readonly folder: string;
  /** Null: the user of this process. */
  readonly user: JobUser | null;
  /** Words before the program that bound it. */
  readonly prefix: readonly string[];
  /** Called with the keeper's process before it begins. */
  bound(pid: number): void;
  readonly signal?: AbortSignal | undefined;
}

const source = import.meta.url.endsWith(".ts");
const program = fileURLToPath(new URL(source ? "./keeper.ts" : "./keeper.js", import.meta.url));
/** A keeper that is not ready after so long never will be. */
const patienceMs = 20_000;

/**
 * Resolves when the keeper has claimed the attempt. Rejects with RUNNER_FAILED when it could not be started; whether it
 * claimed the attempt before, the records tell.
 */
export async function startKeeper(start: KeeperStart): Promise<ChildProcess> {
  const [first = "", ...rest] = [
    ...asUser(start.user),
    ...start.prefix,
    process.execPath,
    ...(source ? sourceFlags() : []),
    program,
    start.folder,
  ];
  const log = openSync(join(start.folder, "keeper.log"), "a", 0o600);
  const child = spawn(first, rest, {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "pipe", log],
    // The keeper's own; the program's variables are in its order.
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
  });
  try {
    await said(child, "ready", start.signal);
    start.bound(child.pid as number);
    child.stdin?.end("go\n");
    await said(child, "begun", start.signal);
  } catch (cause) {
    // Without the word it does nothing, and it goes when its input ends.
    child.stdin?.destroy();
    throw new MillraceError("RUNNER_FAILED", `the keeper of ${start.folder} did not start`, {
      cause,
      hint: `${first} said: ${(cause as Error).message}`,
    });
  }
  child.stdout?.destroy();
  child.unref();
  return child;
}

/** Waits for a word of the keeper. */
function said(child: ChildProcess, word: string, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(
      () => reject(new Error(`no answer for ${patienceMs / 1000} s`)),
      patienceMs,
    );
    const done = (error: Error | null): void => {
      clearTimeout(limit);
      signal?.removeEventListener("abort", aborted);
      if (error === null) resolve();
      else reject(error);
    };
    const aborted = (): void => done(signal?.reason as Error);
    if (signal?.aborted === true) aborted();
    else signal?.addEventListener("abort", aborted);
    child.once("error", done);
    child.once("exit", (code, by) => done(new Error(`it ended with ${code ?? by}`)));
    child.stdout?.on("data", (chunk: Buffer) => {
      if (chunk.toString().includes(word)) done(null);
    });
    child.stdin?.on("error", () => {});
  });
}

/** setpriv takes the user's other groups too: GPUs and data are often a group's. */
function asUser(user: JobUser | null): readonly string[] {
  if (user === null || user.uid === process.getuid?.()) return [];
  return ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--init-groups", "--"];
}

/** Sources need the TypeScript loader and the packages' source entries. */
function sourceFlags(): readonly string[] {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=millrace:source", "--import", tsx];
}
