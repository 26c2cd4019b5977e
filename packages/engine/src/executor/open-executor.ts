/** Opens the executor of a configuration, and makes the KV policy that fits its memory. */
import { InvariantError, MillraceError } from "@millrace/core";
import { type KvManager, type SeqTable, StaticKv } from "@millrace/serving";
import type { EngineOptions, Executor } from "../contracts.ts";
import { openGgmlExecutor } from "./ggml/index.ts";
import { openLibllamaExecutor } from "./libllama/index.ts";
import { type OpenedKv, openKv } from "./open-kv.ts";

/** An executor with the policy over its KV cache. */
export interface OpenedExecutor {
  readonly executor: Executor;
  readonly kv: KvManager;
  /** Whether prompts that begin alike can share pages. */
  readonly sharesPrefixes: boolean;
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
  if (options.executor === "libllama") return openOverLibllama(options, table, onProgress);
  try {
    return await openOverGgml(options, table, onProgress);
  } catch (error) {
    const unknown = error instanceof MillraceError && error.code === "MODEL_UNSUPPORTED";
    if (options.executor === "ggml" || !unknown) throw error;
    onProgress("falling back to libllama");
    return openOverLibllama(options, table, onProgress);
  }
}

/** Graphs of our own, with K and V in memory that follows the policy's page orders. */
async function openOverGgml(
  options: ExecutorOptions,
  table: SeqTable,
  onProgress: (what: string) => void,
): Promise<OpenedExecutor> {
  const { contextTokens, scheduler } = options;
  const slots = scheduler.batchSizeCap;
  const memories: OpenedKv[] = [];
  const executor = await openGgmlExecutor({
    modelPath: options.modelPath,
    threads: options.threads,
    slots,
    slotTokens: contextTokens,
    deterministic: options.deterministic,
    ...(options.device === undefined ? {} : { device: options.device }),
    onProgress,
    memory: (geometry) => {
      const made = openKv(geometry, options);
      memories.push(made);
      return made.memory;
    },
  });
  const [made] = memories;
  if (made === undefined) throw new InvariantError("no KV memory was made");
  return { executor, kv: made.policy(table), sharesPrefixes: made.sharesPrefixes };
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
    sharesPrefixes: false,
  };
}
