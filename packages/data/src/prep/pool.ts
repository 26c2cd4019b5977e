/** N preparation threads and the queue before them. */
import type { Worker } from "node:worker_threads";
import { type ErrorCode, errorCodes, MillraceError } from "@millrace/core";
import { startThread } from "@millrace/core/node";
import type { Area } from "../batch/area.ts";
import type { FromWorker, PrepResult, PrepTask, ToWorker, WorkerSetup } from "./protocol.ts";

const program = new URL(
  import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js",
  import.meta.url,
);

/** Messages that wait at a thread, so that it never waits for the next one. */
const depth = 2;

interface Thread {
  readonly worker: Worker;
  /** Areas by number, as this thread was told. */
  readonly told: Area[];
  readonly batches: (readonly PrepTask[])[];
}

export interface PoolCounts {
  readonly samples: number;
  /** Time inside preparation, summed over threads. */
  readonly busySeconds: number;
}

/** Tasks go out in order; results come back as they are done. */
export class PrepPool implements AsyncDisposable {
  private readonly threads: Thread[];
  /** Threads that end when they have done what they have. */
  private readonly leaving = new Set<Worker>();
  private readonly areas: Area[] = [];
  private readonly queue: PrepTask[] = [];
  private readonly done: (result: PrepResult) => void;
  private readonly fail: (error: Error) => void;
  private samples = 0;
  private busySeconds = 0;
  private closing = false;
  private readonly setup: WorkerSetup;

  /** `fail` is called once, when a thread cannot start or ends by itself; nothing is prepared after that. */
  constructor(
    workers: number,
    setup: WorkerSetup,
    done: (result: PrepResult) => void,
    fail: (error: Error) => void,
  ) {
    this.done = done;
    this.fail = fail;
    this.setup = setup;
    this.threads = Array.from({ length: workers }, () => this.start());
  }

  /** So many threads from now on; those that are left out finish what they have. */
  resize(workers: number): void {
    if (this.closing) return;
    while (this.threads.length < workers) this.threads.push(this.start());
    for (const { worker } of this.threads.splice(workers)) {
      this.leaving.add(worker);
      void exitOf(worker).then(() => this.leaving.delete(worker));
      worker.postMessage({ kind: "close" } satisfies ToWorker);
    }
    this.pump();
  }

  /** Announces memory under a number; a number may be announced again with other memory. */
  setArea(number: number, area: Area): void {
    this.areas[number] = area;
  }

  submit(task: PrepTask): void {
    this.queue.push(task);
    if (this.queue.length === 1) queueMicrotask(() => this.pump());
  }

  counts(): PoolCounts {
    return { samples: this.samples, busySeconds: this.busySeconds };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closing = true;
    this.queue.length = 0;
    const exits = [...this.leaving].map((worker) => exitOf(worker));
    for (const { worker } of this.threads) {
      exits.push(exitOf(worker));
      worker.postMessage({ kind: "close" } satisfies ToWorker);
    }
    await Promise.all(exits);
  }

  private start(): Thread {
    const worker = startThread(program, this.setup);
    const thread: Thread = { worker, told: [], batches: [] };
    const broke = (error: Error): void => {
      if (this.closing) return;
      this.closing = true;
      this.fail(error);
    };
    worker.on("message", (message: FromWorker) => {
      if (message.kind === "broken") {
        const code = message.code in errorCodes ? (message.code as ErrorCode) : "CONFIG_INVALID";
        broke(new MillraceError(code, message.message));
      } else if (message.kind === "done") {
        thread.batches.shift();
        this.samples += message.results.length;
        this.busySeconds += message.busySeconds;
        for (const result of message.results) this.done(result);
        this.pump();
      }
    });
    worker.on("error", (error) => broke(error instanceof Error ? error : new Error(String(error))));
    worker.on("exit", (code) => {
      if (!this.leaving.has(worker))
        broke(new Error(`a preparation thread ended with code ${code}`));
    });
    return thread;
  }

  private pump(): void {
    if (this.closing) return;
    for (let round = 0; round < depth; round++)
      for (const thread of this.threads) {
        if (this.queue.length === 0) return;
        if (thread.batches.length > round) continue;
        // Few at a time while little waits, so that all threads finish a batch together.
        const share = Math.ceil(this.queue.length / (2 * this.threads.length));
        this.send(thread, this.queue.splice(0, Math.max(1, Math.min(8, share))));
      }
  }

  private send(thread: Thread, tasks: readonly PrepTask[]): void {
    for (const { area, outArea } of tasks)
      for (const number of [area, outArea]) {
        const known = this.areas[number] as Area;
        if (thread.told[number] === known) continue;
        thread.told[number] = known;
        thread.worker.postMessage({ kind: "area", number, area: known } satisfies ToWorker);
      }
    thread.batches.push(tasks);
    thread.worker.postMessage({ kind: "tasks", tasks } satisfies ToWorker);
  }
}

function exitOf(worker: Worker): Promise<void> {
  return new Promise((resolve) => worker.once("exit", () => resolve()));
}
