/** Opens the ggml executor: chooses the device, loads the model, makes the KV memory and ties them together. */
import { InvariantError, MillraceError } from "@millrace/core";
import { type Device, type Ggml, loadGgml, ThreadPool } from "@millrace/ggml";
import type { Executor, KvGeometry, KvMemory } from "../../contracts.ts";
import { readModelCard } from "../model-card.ts";
import { GgmlExecutor } from "./ggml-executor.ts";
import { ContiguousStore } from "./memory/contiguous-store.ts";
import type { KvStore } from "./memory/kv-store.ts";
import { PagedStore } from "./memory/paged-store.ts";
import type { DecoderShape } from "./model/decoder-shape.ts";
import { LoadedModel } from "./model/load-model.ts";

/** Where K and V live. */
export type GgmlKvOptions =
  | {
      readonly kv?: "contiguous";
      /** Makes the memory of K and V; the executor disposes it. */
      readonly memory: (geometry: KvGeometry) => KvMemory;
    }
  | {
      /** The baseline: block tables of the executor's own, gathered before attention. */
      readonly kv: "paged";
      /** Default 16. */
      readonly blockTokens?: number;
    };

export interface GgmlComputeOptions {
  /** GGUF file, the first of a split model. */
  readonly modelPath: string;
  /** Threads of the compute pool, >= 1; 1 computes on a thread of libuv's pool. */
  readonly threads: number;
  /** Sequences that can be held at once. */
  readonly slots: number;
  /** Most tokens of one sequence; the model's own context by default and at most. */
  readonly slotTokens?: number;
  /** A row's results do not depend on its batch mates nor on chunk borders; slower for prefills. */
  readonly deterministic?: boolean;
  /** Name of a ggml device; "CPU" by default. */
  readonly device?: string;
  /** Keep 4-bit matrices in the layout the CPU's kernels run fastest on (default true); they then take memory of their own. */
  readonly repack?: boolean;
  /** How long idle threads spin before they sleep, 0 … 100; default 0, the loop needs the cores between steps. */
  readonly poll?: number;
  readonly onProgress?: (what: string) => void;
}

export type GgmlExecutorOptions = GgmlComputeOptions & GgmlKvOptions;

/**
 * Opens a model. Throws MillraceError: FILE_UNREADABLE, GGUF_INVALID, MODEL_UNSUPPORTED, GGML_UNAVAILABLE, GGML_FAILED,
 * CONFIG_INVALID (threads, slots, unknown device).
 */
export async function openGgmlExecutor(options: GgmlExecutorOptions): Promise<Executor> {
  const ggml = loadGgml();
  const device = deviceNamed(ggml, options.device ?? ggml.cpu.name);
  const held: Disposable[] = [];
  const hold = <T extends Disposable>(part: T): T => {
    held.unshift(part);
    return part;
  };
  try {
    options.onProgress?.("mapping weights");
    const repack = options.repack ?? true;
    const model = hold(LoadedModel.open(ggml, device, options.modelPath, repack));
    const card = readModelCard(options.modelPath);
    const kv = kvGeometry(model.shape, options);
    options.onProgress?.("making the KV memory");
    const store = hold(openStore(device, model.shape, kv, options));
    const pool =
      device.kind === "cpu" && options.threads > 1
        ? hold(new ThreadPool(ggml.library, options.threads, { poll: options.poll ?? 0 }))
        : null;
    const backend = hold(device.open());
    if (pool !== null) backend.useThreadPool(pool);
    const deterministic = options.deterministic ?? false;
    const { threads } = options;
    return new GgmlExecutor({ card, model, backend, kv, store, deterministic, threads, pool });
  } catch (error) {
    for (const part of held) part[Symbol.dispose]();
    throw error;
  }
}

function openStore(
  device: Device,
  { kvHeads, headDim }: DecoderShape,
  kv: KvGeometry,
  options: GgmlKvOptions,
): KvStore {
  if (options.kv === "paged") {
    const blockTokens = options.blockTokens ?? 16;
    checkCount("blockTokens", blockTokens);
    return new PagedStore(device, kv, kvHeads, headDim, blockTokens);
  }
  const memory = options.memory(kv);
  try {
    checkStrides(memory, kv);
    return new ContiguousStore(device, memory, kv, kvHeads, headDim);
  } catch (error) {
    memory[Symbol.dispose]();
    throw error;
  }
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new MillraceError("CONFIG_INVALID", `${name} must be a whole number >= 1, not ${value}`);
}

function kvGeometry(shape: DecoderShape, options: GgmlComputeOptions): KvGeometry {
  const slotTokens = options.slotTokens ?? shape.contextTokens;
  checkCount("slots", options.slots);
  checkCount("threads", options.threads);
  checkCount("slotTokens", slotTokens);
  if (slotTokens > shape.contextTokens)
    throw new MillraceError(
      "CONFIG_INVALID",
      `sequences of ${slotTokens} tokens exceed the model's context of ${shape.contextTokens}`,
      { hint: "take a smaller context, or a model with a longer one" },
    );
  return {
    slots: options.slots,
    slotTokens,
    layers: shape.layers,
    tokenBytes: shape.kvHeads * shape.headDim * 2,
  };
}

/** Throws InvariantError when tokens or slots of the memory overlap. */
function checkStrides(memory: KvMemory, kv: KvGeometry): void {
  const { slotStride, tokenStride } = memory;
  if (
    !(
      tokenStride >= kv.tokenBytes &&
      slotStride >= (kv.slotTokens - 1) * tokenStride + kv.tokenBytes
    )
  )
    throw new InvariantError(
      `KV memory with tokens ${tokenStride} and slots ${slotStride} bytes apart is too narrow`,
    );
}

/** The device of that name. Throws CONFIG_INVALID with the names there are. */
export function deviceNamed(ggml: Ggml, name: string): Device {
  const found = ggml.devices.find((d) => d.name.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found;
  const names = ggml.devices.map((d) => `${d.name} (${d.description})`).join(", ");
  throw new MillraceError("CONFIG_INVALID", `there is no device ${JSON.stringify(name)}`, {
    hint: `ggml found: ${names}; other devices need the libraries of their back end (CUDA, Vulkan, Metal)`,
  });
}
