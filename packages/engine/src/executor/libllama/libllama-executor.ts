/**
 * Batches through llama_decode. Slots are libllama's sequences; a row that starts before the end of its sequence drops
 * what stood from there on. libllama computes mixed batches sequence by sequence unless its memory is unified.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import { LlamaBatch, type LlamaContext, type LlamaModel } from "@millrace/ggml/llama";
import type { Executor, ExecutorBatch, KvGeometry, ModelCard } from "../../contracts.ts";
import { checkBatch } from "../ggml/batch/check-batch.ts";

/** Query rows of one tile of ggml's attention kernel on a CPU. */
const tileTokens = 64;

export class LibllamaExecutor implements Executor {
  readonly card: ModelCard;
  readonly kv: KvGeometry;
  readonly memory = null;
  readonly tileTokens = tileTokens;
  lastOverheadSeconds = 0;
  readonly #model: LlamaModel;
  readonly #context: LlamaContext;
  readonly #deterministic: boolean;
  readonly #dispose: () => void;
  readonly #batch: LlamaBatch;
  readonly #seen: Uint8Array;
  /** Logits by row, valid until the next step. */
  readonly #logits: (Float32Array | null)[] = [];
  /** Rows whose last token is in the batch being filled, and its index there. */
  #ends: { readonly row: number; readonly index: number }[] = [];
  #busy = false;
  #failure: string | null = null;
  #disposed = false;

  constructor(parts: {
    readonly card: ModelCard;
    readonly model: LlamaModel;
    readonly context: LlamaContext;
    readonly slotTokens: number;
    readonly deterministic: boolean;
    readonly dispose: () => void;
  }) {
    const { card, context } = parts;
    this.card = card;
    this.kv = {
      slots: context.sequences,
      slotTokens: parts.slotTokens,
      layers: card.layers,
      tokenBytes: card.kvHeads * card.headDim * 2,
    };
    this.#model = parts.model;
    this.#context = context;
    this.#deterministic = parts.deterministic;
    this.#dispose = parts.dispose;
    this.#batch = new LlamaBatch(context.batchTokens);
    this.#seen = new Uint8Array(context.sequences);
  }

  async compute(batch: ExecutorBatch): Promise<void> {
    if (this.#disposed) throw new InvariantError("compute on a disposed executor");
    if (this.#busy) throw new InvariantError("a batch is computed already");
    if (this.#failure !== null) throw stepFailed(this.#failure);
    checkBatch(batch, this.kv, this.#model.vocabulary.size, this.#seen);
    this.#busy = true;
    this.#logits.length = 0;
    let overhead = 0;
    try {
      let from = performance.now();
      for (let row = 0; row < batch.rows; row++)
        this.#context.truncate(batch.slot[row]!, batch.start[row]!);
      this.#batch.clear();
      for (let row = 0; row < batch.rows; row++)
        for (let i = 0; i < batch.count[row]!; i++) {
          if (this.#batch.tokens === this.#batch.capacity || this.#alone()) {
            overhead += performance.now() - from;
            await this.#flush(true);
            from = performance.now();
          }
          this.#add(batch, row, i);
        }
      overhead += performance.now() - from;
      await this.#flush(false);
      this.lastOverheadSeconds = overhead / 1000;
    } catch (error) {
      this.#failure = error instanceof Error ? error.message : String(error);
      throw stepFailed(this.#failure, error);
    } finally {
      this.#busy = false;
    }
  }

  logits(row: number): Float32Array {
    const logits = this.#logits[row] ?? null;
    if (this.#busy || logits === null) throw new InvariantError(`row ${row} has no logits`);
    return logits;
  }

  truncate(slot: number, tokens: number): void {
    this.#context.truncate(slot, tokens);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    if (this.#busy) throw new InvariantError("dispose while a batch is computed");
    this.#disposed = true;
    this.#dispose();
  }

  /** Whether the tokens added so far must be computed before another comes. */
  #alone(): boolean {
    return this.#deterministic && this.#batch.tokens > 0;
  }

  #add(batch: ExecutorBatch, row: number, i: number): void {
    const wanted = i === batch.count[row]! - 1 && batch.wantsLogits[row] === 1;
    const index = this.#batch.add(
      batch.tokens[batch.offset[row]! + i]!,
      batch.start[row]! + i,
      batch.slot[row]!,
      wanted,
    );
    if (wanted) this.#ends.push({ row, index });
  }

  /** Computes what was added; `more`: another call follows in this step, so that the logits must be copied. */
  async #flush(more: boolean): Promise<void> {
    await this.#context.decodeAsync(this.#batch);
    for (const { row, index } of this.#ends) {
      const logits = this.#context.logits(index);
      this.#logits[row] = more ? logits.slice() : logits;
    }
    this.#ends = [];
    this.#batch.clear();
  }
}

function stepFailed(why: string, cause?: unknown): MillraceError {
  return new MillraceError("ENGINE_STEP_FAILED", `the step failed: ${why}`, {
    hint: "the executor cannot go on; open it again",
    ...(cause === undefined ? {} : { cause }),
  });
}
