/** Opens the executor of a configuration, and makes the KV policy that fits its memory. */
import { statSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { openGguf } from "@millrace/ggml/gguf";
import { type KvManager, PageFit, type SeqTable, StaticKv, VattentionKv } from "@millrace/serving";
import type {
  EngineKvOptions,
  EngineOptions,
  Executor,
  KvGeometry,
  KvMemory,
} from "../contracts.ts";
import {
  createKvMemory,
  defaultKvBytes,
  type KvBackend,
  kvLayout,
  pagesCanBeMapped,
  usualPageBytes,
} from "../kv-memory/index.ts";
import { openGgmlExecutor } from "./ggml/index.ts";
import { openLibllamaExecutor } from "./libllama/index.ts";

/** An executor with the policy over its KV cache. */
export interface OpenedExecutor {
  readonly executor: Executor;
  readonly kv: KvManager;
  /** Whether prompts that begin alike can share pages. */
  readonly sharesPrefixes: boolean;
}

/** Engine options with what the model's file decides filled in. */
export type ExecutorOptions = EngineOptions & { readonly contextTokens: number };

/** Share of the page groups that stays free at admission, for sequences that grow. */
const WATERMARK = 0.01;

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
  const memories: { policy: (table: SeqTable) => KvManager; sharesPrefixes: boolean }[] = [];
  const executor = await openGgmlExecutor({
    modelPath: options.modelPath,
    threads: options.threads,
    slots,
    slotTokens: contextTokens,
    deterministic: options.deterministic,
    ...(options.device === undefined ? {} : { device: options.device }),
    onProgress,
    memory: (geometry) => {
      const made = makeMemory(geometry, options);
      memories.push(made);
      return made.memory;
    },
  });
  const [made] = memories;
  if (made === undefined) throw new MillraceError("ENGINE_FAILED", "no KV memory was made");
  return { executor, kv: made.policy(table), sharesPrefixes: made.sharesPrefixes };
}

/** Memory for a geometry, and the policy over it. Throws CONFIG_INVALID when it cannot hold one sequence. */
function makeMemory(
  geometry: KvGeometry,
  options: ExecutorOptions,
): {
  readonly memory: KvMemory;
  readonly policy: (table: SeqTable) => KvManager;
  readonly sharesPrefixes: boolean;
} {
  const { slots, slotTokens, tokenBytes, layers } = geometry;
  const { kv } = options;
  const wanted = kv.memoryBytes ?? defaultKvBytes(fileBytes(options.modelPath));
  if (kv.type === "static") {
    const needed = kvLayout(geometry, 4096, "per-layer").bytes;
    if (needed > wanted)
      throw new MillraceError(
        "CONFIG_INVALID",
        `a static KV cache of ${slots} sequences takes ${needed} bytes, more than ${wanted}`,
        { hint: "fewer sequences, a shorter context, more kv.memory, or kv.type vattention" },
      );
    return {
      memory: createKvMemory(geometry, {
        backend: "plain",
        pageBytes: 4096,
        layout: "per-layer",
        groups: 0,
      }),
      policy: (table) => new StaticKv(table, { slots, slotTokens }),
      sharesPrefixes: false,
    };
  }
  if (kv.type === "paged")
    throw new MillraceError("CONFIG_INVALID", "the engine has no paged KV cache to serve from", {
      hint: "kv.type vattention; paged and contiguous kernels are compared by millrace reproduce vattention",
    });
  const backend = backendFor(kv);
  const pageBytes = kv.pageBytes ?? usualPageBytes(geometry, kv.layout, wanted);
  const layout = kvLayout(geometry, pageBytes, kv.layout);
  const fit = new PageFit(pageBytes, layout.tokenStride);
  // More than all slots can hold is of use only for prefixes that nobody runs at the moment.
  const groups = Math.floor(wanted / layout.groupBytes);
  if (groups < 1)
    throw new MillraceError(
      "CONFIG_INVALID",
      `${wanted} bytes of KV memory hold no page group of ${layout.groupBytes} bytes`,
      { hint: "more kv.memory, smaller pages (kv.page), or kv.layout sliced" },
    );
  return {
    memory: createKvMemory(geometry, { backend, pageBytes, layout: kv.layout, groups }),
    policy: (table) =>
      new VattentionKv(table, {
        groups,
        groupTokens: Math.max(1, fit.tokensIn(1)),
        page: {
          bytes: pageBytes,
          tokenBytes: kv.layout === "sliced" ? tokenBytes * layers : tokenBytes,
        },
        slots,
        slotTokens,
        watermark: WATERMARK,
        deferredReclamation: kv.deferredReclamation,
        eagerSteps: kv.eagerSteps,
        eagerGroups: kv.eagerGroups,
      }),
    sharesPrefixes: kv.prefixSharing && backend === "memfd",
  };
}

/** auto: pages with an identity where prefixes are shared, else the cheaper kind. */
function backendFor(kv: EngineKvOptions): KvBackend {
  if (kv.backend === "cuda")
    throw new MillraceError("CONFIG_INVALID", "kv.backend cuda needs a CUDA device", {
      hint: "leave kv.backend out on a CPU",
    });
  if (kv.backend !== "auto") return kv.backend;
  if (!pagesCanBeMapped())
    throw new MillraceError("CONFIG_INVALID", "this system cannot map pages on demand", {
      hint: "kv.type static; vattention needs 64-bit Linux",
    });
  return kv.prefixSharing ? "memfd" : "madvise";
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

/** Bytes of the model's files; of the first part times their number where it is split. */
function fileBytes(path: string): number {
  using gguf = openGguf(path);
  const parts = gguf.metadata.scalar("split.count");
  return statSync(gguf.path).size * (typeof parts === "number" && parts > 1 ? parts : 1);
}
