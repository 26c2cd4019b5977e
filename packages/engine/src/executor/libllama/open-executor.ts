/** Opens the libllama executor: any model that llama.cpp knows, in KV memory of its own. */
import { MillraceError } from "@millrace/core";
import { loadGgml, ThreadPool } from "@millrace/ggml";
import { LlamaContext, LlamaModel } from "@millrace/ggml/llama";
import type { Executor } from "../../contracts.ts";
import { readModelCard } from "../model-card.ts";
import { LibllamaExecutor } from "./libllama-executor.ts";

export interface LibllamaExecutorOptions {
  /** GGUF file, the first of a split model. */
  readonly modelPath: string;
  /** Threads of the compute pool, >= 1. */
  readonly threads: number;
  /** Sequences that can be held at once. */
  readonly slots: number;
  /** Most tokens of one sequence; the model's own context by default. */
  readonly slotTokens?: number;
  /** Most tokens of a step that are computed in one call; longer steps take several. Default: 2048. */
  readonly batchTokens?: number;
  /**
   * One KV buffer for all sequences: a mixed batch is one pass, but attends over all cells. Off by default: then libllama
   * computes sequences of different lengths one after the other.
   */
  readonly unified?: boolean;
  /** A row's results do not depend on its batch mates nor on chunk borders: one token at a time, slow. */
  readonly deterministic?: boolean;
  readonly onProgress?: (what: string) => void;
}

/** Tokens that llama.cpp computes at once by default. */
const MICRO_BATCH_TOKENS = 512;

/** Opens a model. Throws MillraceError: FILE_UNREADABLE, GGUF_INVALID, MODEL_UNSUPPORTED, GGML_…, CONFIG_INVALID. */
export function openLibllamaExecutor(options: LibllamaExecutorOptions): Executor {
  const { library } = loadGgml();
  const card = readModelCard(options.modelPath);
  const slotTokens = options.slotTokens ?? card.contextTokens;
  if (!Number.isSafeInteger(slotTokens) || slotTokens < 1 || slotTokens > card.contextTokens)
    throw new MillraceError(
      "CONFIG_INVALID",
      `sequences of ${slotTokens} tokens do not fit the model's context of ${card.contextTokens}`,
      { hint: "take a smaller context, or a model with a longer one" },
    );
  const held: Disposable[] = [];
  const hold = <T extends Disposable>(part: T): T => {
    held.unshift(part);
    return part;
  };
  try {
    options.onProgress?.("mapping weights");
    const model = hold(new LlamaModel(options.modelPath));
    const pool =
      options.threads > 1 ? hold(new ThreadPool(library, options.threads, { poll: 0 })) : null;
    options.onProgress?.("making the KV memory");
    const batchTokens = options.batchTokens ?? 2048;
    const context = hold(
      new LlamaContext(model, {
        sequences: options.slots,
        sequenceTokens: slotTokens,
        batchTokens,
        microBatchTokens: Math.min(batchTokens, MICRO_BATCH_TOKENS),
        unified: options.unified ?? false,
        threads: options.threads,
        ...(pool === null ? {} : { threadPool: pool }),
      }),
    );
    return new LibllamaExecutor({
      card,
      model,
      context,
      slotTokens,
      deterministic: options.deterministic ?? false,
      dispose: () => {
        for (const part of held) part[Symbol.dispose]();
      },
    });
  } catch (error) {
    for (const part of held) part[Symbol.dispose]();
    throw error;
  }
}
