/** A server in a process of its own, as a user would start it: `millrace serve` with a file of settings. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MillraceError } from "@millrace/core";

export interface StartedServer {
  readonly url: string;
  /** Throws ENGINE_FAILED with what it said last when it has ended by itself. */
  check(): void;
  /** Stops it and waits until its logs are written. */
  stop(): Promise<void>;
}

/** Time that a server has to end: running requests have 30 s. */
const STOP_MS = 40_000;
/** Characters kept of what it says. */
const SAID = 2000;

const source = import.meta.url.endsWith(".ts");

/** Starts `millrace serve` with these words; resolves when it is ready. Rejects with ENGINE_FAILED and what it said. */
export async function startServer(
  words: readonly string[],
  signal: AbortSignal,
): Promise<StartedServer> {
  signal.throwIfAborted();
  const program = fileURLToPath(new URL(source ? "../main.ts" : "../main.js", import.meta.url));
  const child = spawn(process.execPath, [...loader(), program, "serve", ...words], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  let stopped = false;
  const stop = async (): Promise<void> => {
    stopped = true;
    if (hasEnded()) return;
    child.kill("SIGTERM");
    const late = setTimeout(kill, STOP_MS);
    await once(child, "exit");
    clearTimeout(late);
  };
  const kill = (): void => void child.kill("SIGKILL");
  // A parent that is killed must not leave a server behind.
  process.once("exit", kill);
  child.once("exit", () => process.off("exit", kill));
  const abort = (): void => void stop();
  signal.addEventListener("abort", abort, { once: true });
  child.once("exit", () => signal.removeEventListener("abort", abort));
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said = `${said}${text}`.slice(-SAID);
  });
  const check = (): void => {
    if (stopped || !hasEnded()) return;
    const how = child.signalCode ?? `exit code ${child.exitCode}`;
    throw new MillraceError("ENGINE_FAILED", `the server ended by itself, ${how}: ${said.trim()}`);
  };
  return { url: await ready(child, () => said, signal), check, stop };
}

function loader(): readonly string[] {
  if (!source) return [];
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=millrace:source", "--import", tsx];
}

/** Resolves with the server's address once it has told it. */
function ready(child: ChildProcess, said: () => string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    child.stderr?.on("data", () => {
      const found = /is served at (\S+)/.exec(said())?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once("error", reject);
    child.once("close", () =>
      reject(
        signal.aborted
          ? new MillraceError("INTERRUPTED", "interrupted while the server started")
          : new MillraceError(
              "ENGINE_FAILED",
              `the server ended before it was ready: ${said().trim()}`,
            ),
      ),
    );
  });
}
