/** Opens the executor of a configuration, and makes the KV policy that fits its memory. */
import { type KvManager, type SeqTable, StaticKv } from "@millrace/serving";
import type { EngineOptions, Executor } from "../contracts.ts";
import { openLibllamaExecutor } from "./libllama/index.ts";

/** An executor with the policy over its KV cache. */
export interface OpenedExecutor {
  readonly executor: Executor;
  readonly kv: KvManager;
}

/** Engine options with what the model's file decides filled in. */
export type ExecutorOptions = EngineOptions & { readonly contextTokens: number };

/**
 * `table` is the one the engine's sequences live in. Rejects with MillraceError: MODEL_UNSUPPORTED, CONFIG_INVALID,
 * GGML_…, SYSTEM_….
 */
export async function openExecutor(
  options: ExecutorOptions,
  table: SeqTable,
  onProgress: (what: string) => void,
): Promise<OpenedExecutor> {
  return openOverLibllama(options, table, onProgress);
}

/** libllama keeps its KV cache itself, whole and from the start: the policy only counts its sequences. */
function openOverLibllama(
  options: ExecutorOptions,
  table: SeqTable,
  onProgress: (what: string) => void,
): OpenedExecutor {
  const { scheduler, contextTokens } = options;
  const slots = scheduler.batchSizeCap;
  const executor = openLibllamaExecutor({
    modelPath: options.modelPath,
    threads: options.threads,
    slots,
    slotTokens: contextTokens,
    deterministic: options.deterministic,
    onProgress,
  });
  return {
    executor,
    kv: new StaticKv(table, { slots, slotTokens: contextTokens }),
  };
}
