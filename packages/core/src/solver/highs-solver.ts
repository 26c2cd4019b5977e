/** HiGHS (WebAssembly) in a worker thread, so that nothing else waits while it computes. */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { InvariantError, MillraceError } from "../errors.ts";
import { errorText } from "../executor.ts";
import type { SolveRequest, WorkerReply } from "./highs-protocol.ts";
import type { LinearProgram, LinearSolver, SolveOptions, SolveResult } from "./linear-program.ts";

const source = import.meta.url.endsWith(".ts");

/** HiGHS looks at its stop flag between iterations; a worker that has not ended so long after is ended from outside. */
const graceMs = 3000;

const aborted: SolveResult = {
  status: "aborted",
  objective: Number.POSITIVE_INFINITY,
  bound: Number.NEGATIVE_INFINITY,
  solution: null,
  rowDuals: null,
  columnDuals: null,
  nodes: 0,
  seconds: 0,
};

function startWorker(): Worker {
  if (!source) return new Worker(new URL("./highs-worker.js", import.meta.url));
  // Workers do not inherit the TypeScript loader of a development run.
  const loader = createRequire(import.meta.url)
    .resolve("tsx/esm/api")
    .replace(/\.cjs$/, ".mjs");
  const program = new URL("./highs-worker.ts", import.meta.url).href;
  const code = `import { register } from ${JSON.stringify(pathToFileURL(loader).href)}; register(); await import(${JSON.stringify(program)});`;
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
}

/**
 * Solves with HiGHS, deterministic for a seed unless a time limit or abort ends it. The worker starts with the first
 * program (about 0.3 s), serves the following ones, and does not keep the process alive between them.
 */
export class HighsSolver implements LinearSolver {
  readonly name = "HiGHS";
  private worker: Worker | null = null;
  private last: Promise<unknown> = Promise.resolve();

  solve(program: LinearProgram, options: SolveOptions = {}): Promise<SolveResult> {
    const turn = this.last.then(() => this.run(program, options));
    this.last = turn.catch(() => {});
    return turn;
  }

  private run(program: LinearProgram, options: SolveOptions): Promise<SolveResult> {
    const { signal, onProgress } = options;
    if (signal?.aborted) return Promise.resolve(aborted);
    this.worker ??= startWorker();
    const worker = this.worker;
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const request: SolveRequest = {
      program,
      stop,
      timeLimitSeconds: options.timeLimitSeconds ?? null,
      maxNodes: options.maxNodes ?? null,
      relativeGap: options.relativeGap ?? 0,
      relaxed: options.relaxed === true,
      start: options.start ?? null,
      method: options.method ?? "simplex",
      seed: options.seed ?? 0,
      progress: onProgress !== undefined,
    };
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | null = null;
      const onAbort = (): void => {
        Atomics.store(stop, 0, 1);
        timer = setTimeout(() => {
          this.worker = null;
          finish();
          void worker.terminate();
          resolve(aborted);
        }, graceMs);
      };
      const onMessage = (reply: WorkerReply): void => {
        if (reply.kind === "progress") {
          onProgress?.(reply.progress);
          return;
        }
        finish();
        if (reply.kind === "result") resolve(reply.result);
        else fail(new InvariantError(`HiGHS refused a program: ${reply.error}`));
      };
      const onEnd = (error: unknown): void => {
        this.worker = null;
        finish();
        fail(
          new MillraceError("ENVIRONMENT_MISSING", `HiGHS ended: ${errorText(error)}`, {
            hint: "restore the package highs with npm ci; a program may also have been too large for its 4 GiB",
            cause: error,
          }),
        );
      };
      const onExit = (code: number): void => onEnd(`exit code ${code}`);
      const fail = (error: Error): void => {
        // A trapped WebAssembly instance is in an unknown state; the next program gets a new one.
        if (this.worker === worker) this.worker = null;
        void worker.terminate();
        reject(error);
      };
      const finish = (): void => {
        if (timer !== null) clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        worker.off("message", onMessage).off("error", onEnd).off("exit", onExit);
        worker.unref();
      };
      worker.ref();
      worker.on("message", onMessage).on("error", onEnd).on("exit", onExit);
      signal?.addEventListener("abort", onAbort, { once: true });
      worker.postMessage(request);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.last;
    const worker = this.worker;
    this.worker = null;
    await worker?.terminate();
  }
}
