/** Computes graphs on one device, on the calling thread or off the event loop. One computation at a time. */
import { InvariantError, MillraceError } from "@millrace/core";
import type { Graph } from "../graph.ts";
import { closed, opened } from "../live-handles.ts";
import type { NativeLibrary } from "../native/library.ts";
import type { ThreadPool } from "./thread-pool.ts";

const statusText: Record<number, string> = {
  [-2]: "memory ran out",
  [-1]: "the device failed",
  1: "it was aborted",
};

function computeFailed(status: number): MillraceError {
  return new MillraceError(
    "GGML_FAILED",
    `the computation failed: ${statusText[status] ?? `status ${status}`}`,
    { hint: "a smaller batch or context needs less memory" },
  );
}

export class Backend implements Disposable {
  readonly library: NativeLibrary;
  readonly address: bigint;
  readonly isCpu: boolean;
  /** Kept: the native back end borrows it. */
  #pool: ThreadPool | null = null;
  #busy = false;
  #disposed = false;

  constructor(library: NativeLibrary, address: bigint, isCpu: boolean) {
    this.library = library;
    this.address = address;
    this.isCpu = isCpu;
    // ggml would start four threads for every graph, which spin against each other on a smaller machine.
    if (isCpu) library.cpu.ggml_backend_set_n_threads(address, 1);
    opened("backend");
  }

  /** Threads of the CPU device come from `pool` (without one it computes on the calling thread), which must outlive the back end or be replaced first. */
  useThreadPool(pool: ThreadPool): void {
    this.#ready("useThreadPool");
    if (!this.isCpu) throw new InvariantError("only the CPU device takes a thread pool");
    this.library.cpu.ggml_backend_set_n_threads(this.address, pool.threads);
    this.library.cpu.ggml_backend_cpu_set_threadpool(this.address, pool.address);
    this.#pool = pool;
  }

  get threadPool(): ThreadPool | null {
    return this.#pool;
  }

  /** Computes a graph whose tensors have data; blocks. Throws GGML_FAILED. */
  compute(graph: Graph): void {
    this.#begin(graph);
    try {
      const status = this.library.base.ggml_backend_graph_compute(this.address, graph.address);
      if (status !== 0) throw computeFailed(status);
    } finally {
      this.#end(graph);
    }
  }

  /** The same on a thread of the libuv pool. The graph's arena must not be reset or disposed until it settles. */
  computeAsync(graph: Graph): Promise<void> {
    this.#begin(graph);
    return new Promise((resolve, reject) => {
      this.library.base.ggml_backend_graph_compute.async(
        this.address,
        graph.address,
        (error, status) => {
          this.#end(graph);
          if (error !== null) reject(error);
          else if (status !== 0) reject(computeFailed(status));
          else resolve();
        },
      );
    });
  }

  #ready(action: string): void {
    if (this.#disposed) throw new InvariantError(`${action} on a disposed back end`);
    if (this.#busy) throw new InvariantError(`${action} while a graph is computed`);
  }

  #begin(graph: Graph): void {
    this.#ready("compute");
    if (!graph.current) throw new InvariantError("the graph is of an earlier build of its arena");
    if (graph.arena.busy) throw new InvariantError("the graph is computed elsewhere");
    if (this.#pool?.disposed === true) throw new InvariantError("the thread pool is disposed");
    this.#busy = true;
    graph.arena.busy = true;
  }

  #end(graph: Graph): void {
    this.#busy = false;
    graph.arena.busy = false;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#ready("dispose");
    this.#disposed = true;
    this.library.base.ggml_backend_free(this.address);
    closed("backend");
  }
}
