/** Models as libllama loads them: any architecture that llama.cpp knows. */
import { InvariantError, MillraceError } from "@millrace/core";
import { closed, opened } from "../live-handles.ts";
import { captureLog, lastLoggedError } from "../native/log.ts";
import { type LlamaLibrary, llamaLibrary } from "./library.ts";
import { LlamaVocabulary } from "./vocabulary.ts";

export interface LlamaModelOptions {
  /** Load the vocabulary and no weights. */
  readonly vocabularyOnly?: boolean;
  /** Layers on a GPU, where one is; 0 by default, -1 = all. */
  readonly gpuLayers?: number;
  /** Repack weights for the CPU's matrix units (default: true, as llama.cpp does). */
  readonly repack?: boolean;
}

export class LlamaModel implements Disposable {
  readonly path: string;
  readonly vocabulary: LlamaVocabulary;
  /** Length of a pooled embedding. */
  readonly embeddingLength: number;
  /** Longest sequence the model was trained for, tokens. */
  readonly contextTokens: number;
  readonly gpuLayers: number;
  readonly library: LlamaLibrary;
  readonly #address: bigint;
  #contexts = 0;
  #disposed = false;

  /** Loads a GGUF file, weights mapped. Throws MODEL_UNSUPPORTED with libllama's own words. */
  constructor(path: string, options: LlamaModelOptions = {}) {
    this.library = llamaLibrary();
    this.path = path;
    this.gpuLayers = options.gpuLayers ?? 0;
    const address = captureLog(() =>
      this.library.loadModel(path, {
        ...this.library.modelDefaults(),
        n_gpu_layers: this.gpuLayers,
        vocab_only: options.vocabularyOnly ?? false,
        use_extra_bufts: options.repack ?? true,
      }),
    );
    if (address === null)
      throw new MillraceError(
        "MODEL_UNSUPPORTED",
        `libllama cannot load ${path}: ${lastLoggedError() || "it does not say why"}`,
        { hint: "millrace model info FILE shows architecture and formats of the file" },
      );
    this.#address = address;
    opened("llama model");
    const { call } = this.library;
    this.contextTokens = call.llama_model_n_ctx_train(address);
    this.embeddingLength = options.vocabularyOnly ? 0 : call.llama_model_n_embd_out(address);
    this.vocabulary = new LlamaVocabulary(this.library, call.llama_model_get_vocab(address)!, () =>
      this.#check(),
    );
  }

  /** Address of the native model, for a context; `release` when the context is gone. */
  borrow(): { readonly address: bigint; readonly release: () => void } {
    this.#check();
    this.#contexts++;
    return { address: this.#address, release: () => void this.#contexts-- };
  }

  /** Frees the weights. Throws InvariantError while contexts use them. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    if (this.#contexts > 0)
      throw new InvariantError(`${this.#contexts} contexts still use the model ${this.path}`);
    this.#disposed = true;
    this.library.call.llama_model_free(this.#address);
    closed("llama model");
  }

  #check(): void {
    if (this.#disposed) throw new InvariantError(`the model ${this.path} was disposed`);
  }
}
