/** libllama as the reference of the executor's tests: the same rows, the same forms. */
import { LlamaBatch, LlamaContext, LlamaModel } from "@millrace/ggml/llama";
import type { Row } from "./small-models.conformance.ts";

export class LlamaOracle implements Disposable {
  readonly #model: LlamaModel;
  readonly #context: LlamaContext;
  readonly #batch = new LlamaBatch(1024);

  /** Slots are sequences; kept apart, so that equal rows mean equal shapes. */
  constructor(path: string, options: { readonly threads?: number; readonly slots?: number } = {}) {
    this.#model = new LlamaModel(path);
    this.#context = new LlamaContext(this.#model, {
      sequences: options.slots ?? 8,
      sequenceTokens: 1024,
      batchTokens: 1024,
      threads: options.threads ?? 1,
      flashAttention: "on",
    });
  }

  /** Computes rows; the logits of those that want them, copied, in order. */
  step(rows: readonly Row[]): readonly Float32Array[] {
    const batch = this.#batch;
    batch.clear();
    const wanted: number[] = [];
    for (const row of rows) {
      const last = row.tokens.length - 1;
      for (const [i, token] of row.tokens.entries()) {
        const output = i === last && row.logits !== false;
        const at = batch.add(token, row.start + i, row.slot, output);
        if (output) wanted.push(at);
      }
    }
    this.#context.decode(batch);
    return wanted.map((at) => this.#context.logits(at).slice());
  }

  /** Forgets a slot from `tokens` on. */
  truncate(slot: number, tokens = 0): void {
    this.#context.truncate(slot, tokens);
  }

  [Symbol.dispose](): void {
    this.#context[Symbol.dispose]();
    this.#model[Symbol.dispose]();
  }
}
