/** What the trainer's process does when it is called. */
import { InvariantError, MillraceError } from "@millrace/core";
import { loadGgml, ThreadPool } from "@millrace/ggml";
import type { TrainingGraph } from "../../graph/graph.ts";
import { tileMemory } from "../../kernels/memory.ts";
import type { BatchStream } from "../batch.ts";
import { loadCheckpoint, saveCheckpoint } from "../checkpoint.ts";
import { TrainingExecutor } from "../executor.ts";
import { exportGguf } from "../export-gguf.ts";
import { exportSafetensors } from "../export-safetensors.ts";
import { initialise } from "../initial.ts";
import { forgetScratch } from "../kernel.ts";
import { measure } from "../measure.ts";
import type { Machine } from "../runnable.ts";
import { proveGradients, proveMemory } from "../verify.ts";
import type { CallName, Calls, OperatorSeconds } from "./protocol.ts";

type Handlers = { readonly [K in CallName]: (argument: Calls[K][0]) => Calls[K][1] };

/** One graph, and one plan of it at a time. Calls come in the order of the protocol: open, then load, then the rest. */
export class TrainerHost {
  #machine: Machine | null = null;
  #graph: TrainingGraph | null = null;
  #executor: TrainingExecutor | null = null;
  readonly #progress: (done: number, of: number, what: string) => void;
  readonly #batches: BatchStream;

  /** `batches` gives the bytes of one batch for each call on a batch. */
  constructor(batches: BatchStream, progress: (done: number, of: number, what: string) => void) {
    this.#batches = batches;
    this.#progress = progress;
  }

  /** Answers one call. Throws what the call throws. */
  answer(name: CallName, argument: unknown): unknown {
    const handler = this.#handlers[name] as (argument: unknown) => unknown;
    return handler(argument);
  }

  #open(): { readonly machine: Machine; readonly graph: TrainingGraph } {
    if (this.#machine === null || this.#graph === null)
      throw new InvariantError("a call before open");
    return { machine: this.#machine, graph: this.#graph };
  }

  /** The executor with the next batch in its memory. */
  #fed(): TrainingExecutor {
    const executor = this.#loaded();
    executor.load(this.#batches);
    return executor;
  }

  #loaded(): TrainingExecutor {
    if (this.#executor === null) throw new InvariantError("a call before load");
    return this.#executor;
  }

  readonly #handlers: Handlers = {
    open: ({ graph, threads }) => {
      const { library } = loadGgml();
      // Part of the program, whatever the plan: there before its memory is counted.
      tileMemory();
      // Threads that spin between two small operators would take the core from whatever else runs.
      this.#machine = { library, pool: new ThreadPool(library, threads, { poll: 10 }) };
      this.#graph = graph;
      return undefined;
    },
    measure: ({ seconds, known }) => {
      const { machine, graph } = this.#open();
      return measure(machine, graph, {
        seconds,
        ...(known !== null && { known }),
        onProgress: this.#progress,
      });
    },
    load: ({ table, plan, optimizer, seed }) => {
      const { machine, graph } = this.#open();
      if (table.threads !== machine.pool.threads)
        throw new MillraceError(
          "PROFILE_INVALID",
          `the cost table is for ${table.threads} threads, not ${machine.pool.threads}`,
          { hint: "workspaces depend on the number of threads: measure again" },
        );
      this.#executor?.[Symbol.dispose]();
      this.#executor = new TrainingExecutor(machine, { graph, table, plan, optimizer, seed });
      forgetScratch();
      globalThis.gc?.();
      return this.#executor.report;
    },
    initialise: ({ seed }) => {
      initialise(this.#loaded(), seed);
      return undefined;
    },
    step: () => this.#fed().train(),
    evaluate: () => this.#fed().evaluate(),
    profile: () => profile(this.#fed()),
    proveMemory: () => proveMemory(this.#fed()),
    proveGradients: () => proveGradients(this.#open().machine, this.#fed()),
    save: ({ dir }) => {
      saveCheckpoint(this.#loaded(), dir);
      return undefined;
    },
    restore: ({ dir }) => {
      loadCheckpoint(this.#loaded(), dir);
      return { step: this.#loaded().step };
    },
    export: ({ path, type }) => {
      const executor = this.#loaded();
      const { bytes } = path.endsWith(".safetensors")
        ? exportSafetensors(executor, path)
        : exportGguf(executor, path, { type });
      return { path, bytes };
    },
  };
}

/** Seconds of one forward and backward pass by operator and direction. */
function profile(executor: TrainingExecutor): OperatorSeconds[] {
  const { plan } = executor.setup;
  const sums = new Map<
    string,
    { operator: number; direction: "forward" | "backward"; calls: number; seconds: number }
  >();
  let began = 0;
  executor.gradients({
    before: () => {
      began = performance.now();
    },
    after: (call) => {
      const seconds = (performance.now() - began) / 1000;
      const direction = plan[call.action]?.kind === "backward" ? "backward" : "forward";
      const key = `${direction} ${call.operator}`;
      const sum = sums.get(key) ?? { operator: call.operator, direction, calls: 0, seconds: 0 };
      sums.set(key, { ...sum, calls: sum.calls + 1, seconds: sum.seconds + seconds });
    },
  });
  return [...sums.values()];
}
