/** One trainer in a child process, as its parent sees it; and what the kernel says that process holds. */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Writable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MillraceError } from "@millrace/core";
import type { TrainingGraph } from "../../graph/graph.ts";
import { type BatchData, batchPieces } from "../batch.ts";
import {
  type BatchCallName,
  batchPipe,
  type CallName,
  type Calls,
  type FromTrainer,
  type OpenRequest,
  type PlainError,
  type ToTrainer,
} from "./protocol.ts";

const source = import.meta.url.endsWith(".ts");

/**
 * The process is there for the plan's memory: what a step allocates on the heap lives no longer than a call, and what loading
 * a plan left there is collected before the first step. What V8 holds while it compiles counts too (0117): without helper
 * threads it compiles one function at a time; with little put inline, none of them is large; and our WebAssembly, which is
 * the program's whatever the plan, is compiled for good when it is loaded.
 */
const v8Flags = [
  "--max-semi-space-size=1",
  "--expose-gc",
  "--single-threaded",
  "--no-liftoff",
  "--max-inlined-bytecode-size-cumulative=200",
];

/** Lines of the child's stderr that an error carries: an assertion of native code stands there. */
const lastLines = 6;

/** Resident memory of the process, bytes. */
export interface ProcessMemory {
  readonly residentBytes: number;
  /** Most since the last reset. */
  readonly peakBytes: number;
}

export interface TrainerOptions extends OpenRequest {
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class TrainerProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #batches: Writable;
  readonly #graph: TrainingGraph;
  readonly #waiting = new Map<number, Waiting>();
  readonly #said: string[] = [];
  readonly #ended: Promise<void>;
  #calls = 0;
  #end: string | null = null;

  private constructor(options: TrainerOptions) {
    const program = new URL(source ? "./child.ts" : "./child.js", import.meta.url);
    this.#child = fork(fileURLToPath(program), [], {
      execArgv: [...v8Flags, ...(source ? sourceFlags() : [])],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc", "pipe"],
    });
    this.#graph = options.graph;
    this.#batches = this.#child.stdio[batchPipe] as Writable;
    // A child that ends while it is written to says so by its exit.
    this.#batches.on("error", () => {});
    this.#child.on("message", (message: FromTrainer) => {
      if (message.kind === "progress") {
        options.onProgress?.(message.done, message.of, message.what);
        return;
      }
      const waiting = this.#waiting.get(message.key);
      this.#waiting.delete(message.key);
      if (message.kind === "answer") waiting?.resolve(message.value);
      else waiting?.reject(revived(message.error));
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      const lines = text.split("\n").filter((line) => line.trim() !== "");
      this.#said.push(...lines.map((line) => line.slice(0, 400)));
      this.#said.splice(0, this.#said.length - lastLines);
    });
    this.#ended = new Promise((resolve) => {
      const end = (how: string): void => {
        const said = this.#said.join(" | ");
        this.#end = `the trainer's process ended (${how})${said === "" ? "" : `: ${said}`}`;
        for (const { reject } of this.#waiting.values()) reject(this.#gone());
        this.#waiting.clear();
        resolve();
      };
      this.#child.once("close", (code, signal) => end(signal ?? `exit code ${code}`));
      this.#child.once("error", (error) => {
        if (this.#child.pid === undefined) end(error.message);
      });
    });
  }

  /** Starts a process and opens a graph in it. Rejects with what the trainer refuses, or ENGINE_FAILED. */
  static async open(options: TrainerOptions): Promise<TrainerProcess> {
    const trainer = new TrainerProcess(options);
    try {
      await trainer.call("open", { graph: options.graph, threads: options.threads });
    } catch (error) {
      await trainer[Symbol.asyncDispose]();
      throw error;
    }
    return trainer;
  }

  /** Calls the trainer; when `signal` aborts, the process is ended, since native code cannot be interrupted. */
  call<K extends CallName>(
    name: K,
    argument: Calls[K][0],
    signal?: AbortSignal,
  ): Promise<Calls[K][1]> {
    if (this.#end !== null) return Promise.reject(this.#gone());
    signal?.throwIfAborted();
    this.#calls += 1;
    const key = this.#calls;
    const stop = (): void => {
      const waiting = this.#waiting.get(key);
      this.#waiting.delete(key);
      waiting?.reject(signal?.reason as Error);
      this.#child.kill("SIGKILL");
    };
    signal?.addEventListener("abort", stop, { once: true });
    const answer = new Promise<Calls[K][1]>((resolve, reject) => {
      this.#waiting.set(key, { resolve: resolve as (value: unknown) => void, reject });
      this.#child.send({ key, name, argument } satisfies ToTrainer, (error) => {
        if (error !== null) this.#child.kill("SIGKILL");
      });
    });
    return answer.finally(() => signal?.removeEventListener("abort", stop));
  }

  /**
   * Calls the trainer on a batch, whose arrays must stay as they are until the answer is there. Rejects with DATASET_INVALID
   * when it does not fit the graph.
   */
  async callOn<K extends BatchCallName>(
    name: K,
    batch: BatchData,
    signal?: AbortSignal,
  ): Promise<Calls[K][1]> {
    const pieces = batchPieces(this.#graph, batch);
    const answer = this.call(name, undefined, signal);
    if (this.#end === null) for (const piece of pieces) this.#batches.write(piece);
    return await answer;
  }

  /** What the kernel counts as resident; null where it does not say (outside Linux). */
  residentMemory(): ProcessMemory | null {
    try {
      const text = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
      const field = (name: string): number =>
        1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
      return { residentBytes: field("VmRSS"), peakBytes: field("VmHWM") };
    } catch {
      return null;
    }
  }

  /** Forgets the process's peak of resident memory; false where the kernel does not allow it. */
  resetPeak(): boolean {
    try {
      writeFileSync(`/proc/${this.#child.pid}/clear_refs`, "5");
      return true;
    } catch {
      return false;
    }
  }

  #gone(): MillraceError {
    return new MillraceError("ENGINE_FAILED", this.#end ?? "the trainer's process is gone");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // It holds nothing that a clean exit would have to write.
    if (this.#end === null) this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

function revived({ code, message, hint }: PlainError): MillraceError {
  return new MillraceError(code ?? "ENGINE_FAILED", message, hint === null ? {} : { hint });
}

/** Sources need the TypeScript loader and the packages' source entries; resolved from here, wherever the child runs. */
function sourceFlags(): string[] {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=millrace:source", "--import", tsx];
}
