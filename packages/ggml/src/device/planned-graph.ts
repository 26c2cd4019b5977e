/**
 * Computes a graph whose every byte has a place chosen beforehand, the operators' work area included: the back end's own
 * computation would allocate that area itself. For planners of memory; the CPU alone.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import { koffi, loadedLibraries } from "@millrace/system";
import { nativeFailure } from "../fail.ts";
import type { Graph } from "../graph.ts";
import { HostMemory } from "../host-memory.ts";
import type { ThreadPool } from "./thread-pool.ts";

/** struct ggml_cplan of llama.cpp v0.5.0, bytes. */
const layout = { workSize: 0, workData: 8, threads: 16, pool: 24, bytes: 56 } as const;

interface Planning {
  /** Writes the plan of a graph into memory. */
  plan(graph: bigint, threads: number, pool: bigint): { readonly work_size: number };
  compute(graph: bigint, plan: bigint): number;
}

let planning: Planning | null = null;

/** The functions lie in the CPU library that the registry chose; opening it again gives the same copy. */
function functions(): Planning {
  if (planning !== null) return planning;
  const path = loadedLibraries().find((p) => /(^|[/\\])(lib)?ggml-cpu[^/\\]*$/.test(p));
  if (path === undefined)
    throw new MillraceError("SYSTEM_UNSUPPORTED", "the loaded CPU library cannot be found", {
      hint: "planned computation reads /proc/self/maps, which Linux has",
    });
  const handle = koffi.load(path);
  const struct = koffi.struct({
    work_size: "size_t",
    work_data: "void *",
    n_threads: "int32_t",
    threadpool: "void *",
    abort_callback: "void *",
    abort_callback_data: "void *",
    use_ref: "bool",
  });
  if (koffi.sizeof(struct) !== layout.bytes || koffi.offsetof(struct, "threadpool") !== layout.pool)
    throw new InvariantError("the layout of ggml_cplan is not what it was written for");
  planning = {
    plan: handle.func("ggml_graph_plan", struct, ["void *", "int32_t", "void *"]),
    compute: handle.func("ggml_graph_compute", "int32_t", ["void *", "void *"]),
  } as unknown as Planning;
  return planning;
}

/** Bytes of work area that a graph's operators need with `threads` threads; its tensors need no data yet. */
export function workBytes(graph: Graph, threads: number): number {
  return Number(functions().plan(graph.address, threads, 0n).work_size);
}

/** A graph with its work area. The graph, the pool and the memory must outlive it. */
export class PlannedGraph {
  readonly #graph: Graph;
  readonly #pool: ThreadPool;
  readonly #plan = new HostMemory(layout.bytes);
  readonly #planning: Planning;

  /** `work` is the address of at least workBytes(graph, pool.threads) bytes; 0 where none are needed, null where moveWork gives it. */
  constructor(graph: Graph, pool: ThreadPool, work: bigint | null) {
    this.#graph = graph;
    this.#pool = pool;
    this.#planning = functions();
    const need = workBytes(graph, pool.threads);
    if (need > 0 && work === 0n)
      throw new InvariantError(`a work area of ${need} bytes is missing`);
    const words = this.#plan.u64();
    words[layout.workSize / 8] = BigInt(need);
    words[layout.workData / 8] = work ?? 0n;
    this.#plan.i32(layout.threads, 1)[0] = pool.threads;
    words[layout.pool / 8] = pool.address;
  }

  /** Gives it another work area of the same size. */
  moveWork(work: number): void {
    this.#plan.u64()[layout.workData / 8] = BigInt(work);
  }

  /** Computes on the calling thread and the pool's. Throws GGML_FAILED. */
  compute(): void {
    if (!this.#graph.current || this.#pool.disposed)
      throw new InvariantError("the graph or its thread pool is gone");
    const status = this.#planning.compute(this.#graph.address, this.#plan.address);
    if (status !== 0) nativeFailure(`computing a planned graph gave status ${status}`);
  }
}
