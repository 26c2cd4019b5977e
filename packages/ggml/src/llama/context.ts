/** A llama_context: KV memory of its own and the computation over it. */
import { InvariantError, MillraceError } from "@millrace/core";
import { memoryView } from "@millrace/system";
import type { ThreadPool } from "../device/thread-pool.ts";
import { closed, opened } from "../live-handles.ts";
import { captureLog, lastLoggedError } from "../native/log.ts";
import type { LlamaBatch } from "./batch.ts";
import type { LlamaModel } from "./model.ts";

export interface LlamaContextOptions {
  /** Tokens of one sequence; rounded up by libllama to a multiple of 256. */
  readonly sequenceTokens: number;
  readonly sequences: number;
  /** Most tokens of one decode. */
  readonly batchTokens: number;
  /** Tokens computed at once within a decode; default: batchTokens. */
  readonly microBatchTokens?: number;
  /** One KV buffer for all sequences: one pass over mixed batches, but attention over all cells. Default: false. */
  readonly unified?: boolean;
  readonly threads: number;
  /** Threads kept between decodes; without it libllama starts its own for each graph. Must outlive the context. */
  readonly threadPool?: ThreadPool;
  /** Default: auto, which is on for a CPU. */
  readonly flashAttention?: "auto" | "on" | "off";
  /** Logits of every token may be asked for, not only of one per sequence and decode. */
  readonly allOutputs?: boolean;
  /** Pool the final states of a sequence: mean or last. Off by default; then there are no embeddings. */
  readonly pooling?: "mean" | "last";
}

const flashAttention = { auto: -1, on: 1, off: 0 } as const;
const pooling = { none: 0, mean: 1, last: 3 } as const;

export class LlamaContext implements Disposable {
  readonly model: LlamaModel;
  readonly sequences: number;
  /** Tokens that one sequence can hold. */
  readonly sequenceTokens: number;
  /** Most tokens of one decode. */
  readonly batchTokens: number;
  readonly #address: bigint;
  readonly #memory: bigint;
  readonly #release: () => void;
  #computed: LlamaBatch | null = null;
  #busy = false;
  #disposed = false;

  /** Throws GGML_FAILED when the context does not fit into memory, CONFIG_INVALID for impossible sizes. */
  constructor(model: LlamaModel, options: LlamaContextOptions) {
    const { sequences, sequenceTokens, batchTokens } = options;
    for (const [name, value] of Object.entries({
      sequences,
      sequenceTokens,
      batchTokens,
      threads: options.threads,
    }))
      if (!Number.isInteger(value) || value < 1 || value > 2 ** 30)
        throw new MillraceError(
          "CONFIG_INVALID",
          `${name} is ${value}, not a whole number above 0`,
        );
    this.model = model;
    this.sequences = sequences;
    const { library } = model;
    const padded = Math.ceil(sequenceTokens / 256) * 256;
    const borrowed = model.borrow();
    const address = captureLog(() =>
      library.openContext(borrowed.address, {
        ...library.contextDefaults(),
        n_ctx: padded * sequences,
        n_batch: batchTokens,
        n_ubatch: options.microBatchTokens ?? batchTokens,
        n_seq_max: sequences,
        n_outputs_max_per_seq: options.allOutputs ? 0 : 1,
        n_threads: options.threads,
        n_threads_batch: options.threads,
        flash_attn_type: flashAttention[options.flashAttention ?? "auto"],
        pooling_type: pooling[options.pooling ?? "none"],
        embeddings: options.pooling !== undefined,
        kv_unified: options.unified ?? false,
        op_offload: model.gpuLayers !== 0,
        offload_kqv: model.gpuLayers !== 0,
      }),
    );
    if (address === null) {
      borrowed.release();
      throw new MillraceError(
        "GGML_FAILED",
        `libllama cannot open a context of ${sequences} × ${padded} tokens: ${lastLoggedError() || "it does not say why"}`,
        { hint: "fewer sequences or a shorter context need less memory" },
      );
    }
    this.#address = address;
    this.#release = borrowed.release;
    opened("llama context");
    const { call } = library;
    // Never more than the context holds.
    this.batchTokens = call.llama_n_batch(address);
    this.#memory = call.llama_get_memory(address) ?? 0n;
    this.sequenceTokens = options.unified ? padded * sequences : call.llama_n_ctx_seq(address);
    if (options.threadPool !== undefined)
      call.llama_attach_threadpool(address, options.threadPool.address, options.threadPool.address);
  }

  /** Computes a batch on the calling thread. Throws CONFIG_INVALID for a bad batch, ENGINE_STEP_FAILED otherwise. */
  decode(batch: LlamaBatch): void {
    this.#begin(batch);
    let code: number;
    try {
      code = this.model.library.decode(this.#address, batch.struct());
    } finally {
      this.#busy = false;
    }
    this.#end(batch, code);
  }

  /** The same on a thread of the libuv pool; the batch must not change meanwhile. */
  decodeAsync(batch: LlamaBatch): Promise<void> {
    this.#begin(batch);
    return new Promise((resolve, reject) => {
      this.model.library.decode.async(this.#address, batch.struct(), (error, code) => {
        this.#busy = false;
        try {
          if (error !== null) throw error;
          this.#end(batch, code);
          resolve();
        } catch (failure) {
          reject(failure);
        }
      });
    });
  }

  /** Logits of a token of the last batch: float32[vocabulary], valid until the next decode. */
  logits(index: number): Float32Array {
    if (this.#computed?.hasOutput(index) !== true)
      throw new InvariantError(`no logits were asked for at ${index}`);
    const address = this.model.library.call.llama_get_logits_ith(this.#address, index);
    if (address === null) throw new InvariantError(`libllama has no logits at ${index}`);
    return new Float32Array(memoryView(address, 4 * this.model.vocabulary.size));
  }

  /** Pooled embedding of a sequence of the last batch: float32[embeddingLength], copied. */
  embedding(sequence: number): Float32Array {
    this.#checkSequence(sequence);
    const address = this.model.library.call.llama_get_embeddings_seq(this.#address, sequence);
    if (address === null) throw new InvariantError(`libllama has no embedding of ${sequence}`);
    return new Float32Array(memoryView(address, 4 * this.model.embeddingLength)).slice();
  }

  /** Forgets positions from `from` on; false where the model's memory cannot forget a part (recurrent states). */
  truncate(sequence: number, from: number): boolean {
    this.#checkSequence(sequence);
    this.#checkIdle();
    return this.model.library.call.llama_memory_seq_rm(this.#memory, sequence, from, -1);
  }

  /** Lets `to` begin with the first `tokens` positions of `from`; in a unified memory no byte is copied. */
  share(from: number, to: number, tokens: number): void {
    this.#checkSequence(from);
    this.#checkSequence(to);
    this.#checkIdle();
    this.model.library.call.llama_memory_seq_cp(this.#memory, from, to, 0, tokens);
  }

  /** Forgets everything. */
  clear(): void {
    this.#checkIdle();
    this.model.library.call.llama_memory_clear(this.#memory, false);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#checkIdle();
    this.#disposed = true;
    this.model.library.call.llama_free(this.#address);
    this.#release();
    closed("llama context");
  }

  #begin(batch: LlamaBatch): void {
    this.#checkIdle();
    // libllama asserts on these, and an assertion ends the process.
    const fault =
      batch.tokens === 0
        ? "it holds no tokens"
        : batch.tokens > this.batchTokens
          ? `it holds ${batch.tokens} tokens, more than ${this.batchTokens}`
          : batch.fault(this.model.vocabulary.size, this.sequences);
    if (fault !== null)
      throw new MillraceError("CONFIG_INVALID", `a batch cannot be computed: ${fault}`);
    this.#busy = true;
    this.#computed = null;
  }

  #end(batch: LlamaBatch, code: number): void {
    if (code !== 0)
      throw new MillraceError(
        "ENGINE_STEP_FAILED",
        code === 1
          ? `libllama has no room for ${batch.tokens} more tokens`
          : `libllama failed to compute ${batch.tokens} tokens (code ${code})`,
        { hint: "positions of a sequence must follow each other, within its context" },
      );
    this.#computed = batch;
  }

  #checkSequence(sequence: number): void {
    if (!Number.isInteger(sequence) || sequence < 0 || sequence >= this.sequences)
      throw new InvariantError(`sequence ${sequence} is not below ${this.sequences}`);
  }

  #checkIdle(): void {
    if (this.#disposed) throw new InvariantError("the context was disposed");
    if (this.#busy) throw new InvariantError("the context computes");
  }
}
