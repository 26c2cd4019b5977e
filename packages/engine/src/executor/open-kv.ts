/** Memory for the K and V of a model, and the policy over it, as the configuration has them. */
import { statSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { openGguf } from "@millrace/ggml/gguf";
import {
  type KvManager,
  type KvSettings,
  PageFit,
  type SeqTable,
  StaticKv,
  VattentionKv,
  type VattentionOptions,
} from "@millrace/serving";
import { CudaDeviceMemory } from "@millrace/system";
import type { EngineKvOptions, EngineOptions, KvGeometry, KvMemory } from "../contracts.ts";
import { backendFor, cudaOrdinal } from "../kv-memory/backend.ts";
import {
  createKvMemory,
  defaultKvBytes,
  type KvBackend,
  kvLayout,
  pagesCanBeMapped,
  usualPageBytes,
} from "../kv-memory/index.ts";

/** KV memory with its policy. */
export interface OpenedKv {
  readonly memory: KvMemory;
  readonly policy: (table: SeqTable) => KvManager;
  readonly sharesPrefixes: boolean;
}

/** Share of the page groups that stays free at admission, for sequences that grow. */
const WATERMARK = 0.01;
/** Share of a device's free memory that the cache takes by itself; the rest is for activations. */
const DEVICE_SHARE = 0.8;

/** Makes the memory. Throws CONFIG_INVALID when it cannot hold a page group or does not fit the device, SYSTEM_…. */
export function openKv(geometry: KvGeometry, options: EngineOptions): OpenedKv {
  const { kv } = options;
  const backend = backendFor(kv, options.device, pagesCanBeMapped());
  if (kv.type === "static") return openStatic(geometry, options);
  if (backend !== "cuda") {
    const wanted = kv.memoryBytes ?? defaultKvBytes(fileBytes(options.modelPath));
    const pageBytes = kv.pageBytes ?? usualPageBytes(geometry, kv.layout, wanted);
    return openPages(geometry, options, { backend, pageBytes, wanted, device: null });
  }
  const device = new CudaDeviceMemory(cudaOrdinal(options.device) ?? 0);
  try {
    // The weights are on the device already.
    const wanted = kv.memoryBytes ?? Math.floor(DEVICE_SHARE * device.freeBytes());
    const pageBytes = kv.pageBytes ?? device.granularityBytes;
    return openPages(geometry, options, { backend, pageBytes, wanted, device });
  } catch (error) {
    device[Symbol.dispose]();
    throw error;
  }
}

function openStatic(geometry: KvGeometry, options: EngineOptions): OpenedKv {
  const { slots, slotTokens } = geometry;
  const wanted = options.kv.memoryBytes ?? defaultKvBytes(fileBytes(options.modelPath));
  const needed = kvLayout(geometry, 4096, "per-layer").bytes;
  if (needed > wanted)
    throw new MillraceError(
      "CONFIG_INVALID",
      `a static KV cache of ${slots} sequences takes ${needed} bytes, more than ${wanted}`,
      { hint: "fewer sequences, a shorter context, more kv.memory, or kv.type vattention" },
    );
  const plain = { backend: "plain", pageBytes: 4096, layout: "per-layer", groups: 0 } as const;
  return {
    memory: createKvMemory(geometry, plain),
    policy: (table) => new StaticKv(table, { slots, slotTokens }),
    sharesPrefixes: false,
  };
}

function openPages(
  geometry: KvGeometry,
  { kv }: EngineOptions,
  pages: {
    readonly backend: KvBackend;
    readonly pageBytes: number;
    readonly wanted: number;
    readonly device: CudaDeviceMemory | null;
  },
): OpenedKv {
  const { backend, pageBytes, wanted, device } = pages;
  const layout = kvLayout(geometry, pageBytes, kv.layout);
  // More than all slots can hold is of use only for prefixes that nobody runs at the moment.
  const groups = Math.floor(wanted / layout.groupBytes);
  if (groups < 1)
    throw new MillraceError(
      "CONFIG_INVALID",
      `${wanted} bytes of KV memory hold no page group of ${layout.groupBytes} bytes`,
      { hint: "more kv.memory, smaller pages (kv.page), or kv.layout sliced" },
    );
  return {
    memory: createKvMemory(geometry, {
      backend,
      pageBytes,
      layout: kv.layout,
      groups,
      ...(device !== null && { device }),
    }),
    policy: (table) => new VattentionKv(table, vattentionOptions(geometry, kv, pageBytes, groups)),
    sharesPrefixes: kv.prefixSharing && (backend === "memfd" || backend === "cuda"),
  };
}

function vattentionOptions(
  { slots, slotTokens, tokenBytes, layers }: KvGeometry,
  kv: EngineKvOptions,
  pageBytes: number,
  groups: number,
): VattentionOptions {
  const stride = kv.layout === "sliced" ? tokenBytes * layers : tokenBytes;
  return {
    groups,
    groupTokens: Math.max(1, new PageFit(pageBytes, stride).tokensIn(1)),
    page: { bytes: pageBytes, tokenBytes: stride },
    slots,
    slotTokens,
    watermark: WATERMARK,
    deferredReclamation: kv.deferredReclamation,
    eagerSteps: kv.eagerSteps,
    eagerGroups: kv.eagerGroups,
  };
}

/**
 * The KV policy that an engine on the CPU with these options would have, without making any memory: what a plan simulates
 * before a server is started. `geometry` is of any executor of the model; slots and their length come from the options.
 */
export function plannedKv(geometry: KvGeometry, options: EngineOptions): KvSettings {
  const { kv } = options;
  const slots = options.scheduler.batchSizeCap;
  const slotTokens = options.contextTokens ?? geometry.slotTokens;
  const own = { ...geometry, slots, slotTokens };
  if (kv.type === "static") return { type: "static", options: { slots, slotTokens } };
  const wanted = kv.memoryBytes ?? defaultKvBytes(fileBytes(options.modelPath));
  const pageBytes = kv.pageBytes ?? usualPageBytes(own, kv.layout, wanted);
  const groups = Math.floor(wanted / kvLayout(own, pageBytes, kv.layout).groupBytes);
  return { type: "vattention", options: vattentionOptions(own, kv, pageBytes, groups) };
}

/** Bytes of the model's files; of the first part times their number where it is split. */
function fileBytes(path: string): number {
  using gguf = openGguf(path);
  const parts = gguf.metadata.scalar("split.count");
  return statSync(gguf.path).size * (typeof parts === "number" && parts > 1 ? parts : 1);
}
