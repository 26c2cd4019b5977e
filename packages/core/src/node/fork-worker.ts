/** One child process of a pool, from the parent's side: one job in flight at a time. */
import { type ChildProcess, fork } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { errorText } from "../executor.ts";
import type { FromChild, ToChild } from "./fork-protocol.ts";

/** What became of a job on one worker: an answer, or the death of the worker with its exit code or signal. */
export type Reply =
  | { readonly kind: "done"; readonly value: unknown }
  | { readonly kind: "failed"; readonly error: string }
  | { readonly kind: "broken"; readonly error: string }
  | { readonly kind: "died"; readonly how: string };

const source = import.meta.url.endsWith(".ts");

/** Child flags: sources need the TypeScript loader and the packages' source entries, built modules need nothing. */
function flagsFor(module: URL): string[] {
  if (!source && !module.pathname.endsWith(".ts")) return [];
  // Resolved from here, because the child may run in any folder.
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=millrace:source", "--import", tsx];
}

/** A child that has loaded `module`, or will have by its first answer. Never throws; death is a reply. */
export class ForkWorker {
  private readonly child: ChildProcess;
  private settle: ((reply: Reply) => void) | null = null;
  private readonly ended: Promise<void>;
  private end: Reply | null = null;

  constructor(module: URL, execArgv: readonly string[]) {
    const program = new URL(source ? "./fork-child.ts" : "./fork-child.js", import.meta.url);
    this.child = fork(fileURLToPath(program), [], {
      execArgv: [...flagsFor(module), ...execArgv],
      serialization: "advanced",
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.child.on("message", (message: FromChild) => {
      if (message.kind === "broken") this.finish(message);
      else if (message.kind !== "ready") this.reply(message);
    });
    this.ended = new Promise((resolve) => {
      this.child.once("exit", (code, signal) => {
        this.finish({ kind: "died", how: signal ?? `exit code ${code}` });
        resolve();
      });
      this.child.once("error", (error) => {
        this.finish({ kind: "died", how: errorText(error) });
        // A child that never started has no exit event.
        if (this.child.pid === undefined) resolve();
      });
    });
    this.post({ kind: "load", module: module.href });
  }

  /** Process id, undefined when the process could not be started. */
  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Whether another job can be given. */
  get alive(): boolean {
    return this.end === null;
  }

  /** Runs one job; one at a time. */
  call(input: unknown): Promise<Reply> {
    if (this.end !== null) return Promise.resolve(this.end);
    return new Promise((resolve) => {
      this.settle = resolve;
      this.post({ kind: "job", input });
    });
  }

  /** Kills the child and waits until it is gone. */
  async kill(): Promise<void> {
    // Otherwise a parent with nothing else to do ends before it has seen an idle child end.
    this.child.ref();
    this.child.kill("SIGKILL");
    await this.ended;
  }

  /** An idle worker does not keep the parent's event loop alive. */
  keepsParent(yes: boolean): void {
    if (yes) {
      this.child.ref();
      this.child.channel?.ref();
    } else {
      this.child.unref();
      this.child.channel?.unref();
    }
  }

  private post(message: ToChild): void {
    if (!this.child.connected) return;
    try {
      // Failures to deliver are followed by the exit event.
      this.child.send(message, () => {});
    } catch (error) {
      this.reply({ kind: "failed", error: errorText(error) });
    }
  }

  private finish(reply: Reply): void {
    this.end ??= reply;
    this.reply(reply);
  }

  private reply(reply: Reply): void {
    const settle = this.settle;
    this.settle = null;
    settle?.(reply);
  }
}
