/** Threads that the CPU back end keeps between graphs; without a pool each computation starts and joins its own. */
import { MillraceError } from "@millrace/core";
import { addressOf } from "../fail.ts";
import { HostMemory } from "../host-memory.ts";
import { closed, opened } from "../live-handles.ts";
import type { NativeLibrary } from "../native/library.ts";

/** Layout of ggml_threadpool_params: a byte per CPU, then 32-bit fields. */
const paramsLayout = { cpus: 512, threads: 512, poll: 520, strict: 524, bytes: 528 } as const;

export class ThreadPool implements Disposable {
  readonly address: bigint;
  readonly threads: number;
  readonly #library: NativeLibrary;
  #disposed = false;

  /**
   * `threads` in [1, 512], the calling thread included: no more than cores, since waiting threads spin. `poll` in [0, 100]:
   * how long they spin before they sleep. `cpus`: the CPUs they are bound to, one each; left out, the system places them.
   */
  constructor(
    library: NativeLibrary,
    threads: number,
    options: { readonly poll?: number; readonly cpus?: readonly number[] } = {},
  ) {
    if (!Number.isInteger(threads) || threads < 1 || threads > paramsLayout.cpus)
      throw new MillraceError("CONFIG_INVALID", `threads must be 1 to 512, not ${threads}`, {
        hint: "take one less than the physical cores, so that the event loop has one",
      });
    const poll = options.poll ?? 50;
    if (!Number.isInteger(poll) || poll < 0 || poll > 100)
      throw new MillraceError("CONFIG_INVALID", `poll must be 0 to 100, not ${poll}`);
    const params = new HostMemory(paramsLayout.bytes);
    library.base.ggml_threadpool_params_init(params.address, threads);
    params.i32(paramsLayout.poll, 1)[0] = poll;
    for (const cpu of options.cpus ?? []) {
      if (!Number.isInteger(cpu) || cpu < 0 || cpu >= paramsLayout.cpus)
        throw new MillraceError("CONFIG_INVALID", `there is no CPU ${cpu}`);
      params.u8()[cpu] = 1;
      params.u8()[paramsLayout.strict] = 1;
    }
    this.#library = library;
    this.threads = threads;
    this.address = addressOf(
      library.cpu.ggml_threadpool_new(params.address),
      `starting ${threads} threads`,
    );
    opened("thread pool");
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Ends the threads. Only after every back end that uses them was disposed or given another pool. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#library.cpu.ggml_threadpool_free(this.address);
    closed("thread pool");
  }
}
