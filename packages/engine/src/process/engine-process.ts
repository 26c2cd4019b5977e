/** Keeps one engine process alive: starts it, feeds it, notices its end, starts it again at growing intervals. */
import { type ChildProcess, fork } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MillraceError } from "@millrace/core";
import type { EngineOptions, ModelCard, StepTiming } from "../contracts.ts";
import { revivedError } from "./plain-error.ts";
import { type FromEngine, PROTOCOL_VERSION, type ToEngine } from "./protocol.ts";
import { RemoteEngine } from "./remote-engine.ts";

const source = import.meta.url.endsWith(".ts");

/** How long the process may stay silent on pings, on top of the bound on a step. Its event loop is free during steps. */
const SILENCE_SECONDS = 30;
const PING_SECONDS = 5;
/** Lines of the child's stderr that an error message carries: an assertion of native code stands there. */
const LAST_LINES = 6;

export interface EngineProcessOptions {
  readonly engine: EngineOptions;
  /** Module whose export `createEngine` makes the engine. */
  readonly module: URL;
  readonly onProgress?: (what: string, share: number | null) => void;
  readonly onStep: (step: StepTiming) => void;
  /** Lines the child writes to stderr. */
  readonly onLine?: (line: string) => void;
}

/** One life of the process. */
export class EngineProcess {
  readonly remote: RemoteEngine;
  /** Resolves when the engine is loaded; rejects with what it refused, or with ENGINE_FAILED when the process ended. */
  readonly loaded: Promise<ModelCard>;
  /** Resolves with the reason when the process is gone. */
  readonly ended: Promise<string>;
  private readonly child: ChildProcess;
  private readonly pinging: NodeJS.Timeout;
  private readonly lastLines: string[] = [];
  private fatal: string | null = null;
  private heardAt = performance.now();

  constructor(options: EngineProcessOptions) {
    const program = new URL(source ? "./engine-child.ts" : "./engine-child.js", import.meta.url);
    this.child = fork(fileURLToPath(program), [], {
      execArgv: source || options.module.pathname.endsWith(".ts") ? sourceFlags() : [],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    const post = (message: ToEngine): void => {
      // Failures to deliver are followed by the exit event.
      if (this.child.connected) this.child.send(message, () => {});
    };
    this.remote = new RemoteEngine({ post }, { step: options.onStep });
    this.readLines(options.onLine ?? (() => {}));
    let accept: (card: ModelCard) => void = () => {};
    let refuse: (error: unknown) => void = () => {};
    this.loaded = new Promise((resolve, reject) => {
      accept = resolve;
      refuse = reject;
    });
    // Whoever awaits it sees the rejection; a process that ends after loading must not count as unhandled.
    this.loaded.catch(() => {});
    this.child.on("message", (message: FromEngine) => {
      this.heardAt = performance.now();
      if (message.kind === "ready") accept(message.card);
      else if (message.kind === "refused") refuse(revivedError(message.error));
      else if (message.kind === "fatal") this.fatal = message.message;
      else if (message.kind === "progress") options.onProgress?.(message.what, message.share);
      else this.remote.receive(message);
    });
    this.ended = new Promise((resolve) => {
      const end = (how: string): void => {
        clearInterval(this.pinging);
        const reason = this.describeEnd(how);
        refuse(new MillraceError("ENGINE_FAILED", reason));
        resolve(reason);
      };
      // "close" comes after the last line of stderr was read.
      this.child.once("close", (code, signal) => end(signal ?? `exit code ${code}`));
      this.child.once("error", (error) => {
        if (this.child.pid === undefined) end(error.message);
      });
    });
    const patience = 1000 * (SILENCE_SECONDS + options.engine.stepTimeoutSeconds);
    this.pinging = setInterval(() => {
      if (performance.now() - this.heardAt > patience) {
        this.fatal ??= `it did not answer for ${Math.round(patience / 1000)} s`;
        this.child.kill("SIGKILL");
      } else post({ kind: "ping", sentAt: performance.now() });
    }, 1000 * PING_SECONDS);
    this.pinging.unref();
    post({
      kind: "load",
      version: PROTOCOL_VERSION,
      module: options.module.href,
      options: options.engine,
    });
    post({ kind: "steps", wanted: true });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Asks the process to end, and ends it after `graceSeconds`. */
  async close(graceSeconds: number): Promise<void> {
    if (this.child.connected) this.child.send({ kind: "close" } satisfies ToEngine, () => {});
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 1000 * graceSeconds);
    await this.ended;
    clearTimeout(timer);
  }

  private describeEnd(how: string): string {
    const said = this.fatal ?? this.lastLines.join(" | ");
    return `the engine process ended (${how})${said === "" ? "" : `: ${said}`}`;
  }

  private readLines(onLine: (line: string) => void): void {
    let rest = "";
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = (lines.pop() ?? "").slice(-4096);
      for (const line of lines) {
        if (line.trim() === "") continue;
        this.lastLines.push(line.slice(0, 400));
        if (this.lastLines.length > LAST_LINES) this.lastLines.shift();
        onLine(line);
      }
    });
  }
}

/** Sources need the TypeScript loader and the packages' source entries; resolved from here, wherever the child runs. */
function sourceFlags(): string[] {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=millrace:source", "--import", tsx];
}
