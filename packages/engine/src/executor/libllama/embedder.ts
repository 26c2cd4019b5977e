/** Pooled embeddings of texts, beside whatever the model serves: a context of its own, opened when first asked for. */
import { MillraceError } from "@millrace/core";
import { LlamaBatch, LlamaContext, LlamaModel } from "@millrace/ggml/llama";

export interface EmbedderOptions {
  readonly modelPath: string;
  readonly pooling: "mean" | "last";
  /** Most tokens of one input. */
  readonly inputTokens: number;
  readonly threads: number;
}

export class Embedder implements Disposable {
  readonly #options: EmbedderOptions;
  #opened: { readonly model: LlamaModel; readonly context: LlamaContext } | null = null;
  /** Inputs are computed one after the other: the context belongs to one call at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: EmbedderOptions) {
    this.#options = options;
  }

  /** One vector per input: float32[embedding length]. Rejects with CONFIG_INVALID for inputs that are empty or too long. */
  embed(inputs: readonly Int32Array[], signal: AbortSignal): Promise<readonly Float32Array[]> {
    const { inputTokens } = this.#options;
    for (const [i, input] of inputs.entries())
      if (input.length === 0 || input.length > inputTokens)
        return Promise.reject(
          new MillraceError(
            "CONFIG_INVALID",
            `input ${i} has ${input.length} tokens, but must have 1 to ${inputTokens}`,
            { hint: "cut it into parts" },
          ),
        );
    const work = this.#last.then(async () => {
      const vectors: Float32Array[] = [];
      for (const input of inputs) {
        signal.throwIfAborted();
        vectors.push(await this.#one(input));
      }
      return vectors;
    });
    this.#last = work.catch(() => {});
    return work;
  }

  [Symbol.dispose](): void {
    this.#opened?.context[Symbol.dispose]();
    this.#opened?.model[Symbol.dispose]();
    this.#opened = null;
  }

  async #one(input: Int32Array): Promise<Float32Array> {
    const { context } = this.#open();
    context.clear();
    const batch = new LlamaBatch(input.length);
    for (const [i, token] of input.entries()) batch.add(token, i, 0, true);
    await context.decodeAsync(batch);
    return context.embedding(0);
  }

  #open() {
    if (this.#opened !== null) return this.#opened;
    const { modelPath, pooling, inputTokens, threads } = this.#options;
    const model = new LlamaModel(modelPath);
    try {
      const context = new LlamaContext(model, {
        sequences: 1,
        sequenceTokens: inputTokens,
        batchTokens: inputTokens,
        threads,
        pooling,
        allOutputs: true,
      });
      this.#opened = { model, context };
      return this.#opened;
    } catch (error) {
      model[Symbol.dispose]();
      throw error;
    }
  }
}
