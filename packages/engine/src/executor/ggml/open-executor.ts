/** Opens the ggml executor: chooses the device, loads the model, makes the KV memory and ties them together. */
import { InvariantError, MillraceError } from "@millrace/core";
import { type Device, type Ggml, loadGgml, ThreadPool } from "@millrace/ggml";
import type { Executor, KvGeometry, KvMemory } from "../../contracts.ts";
import { readModelCard } from "../model-card.ts";
import { GgmlExecutor } from "./ggml-executor.ts";
import { ContiguousStore } from "./memory/contiguous-store.ts";
import type { DecoderShape } from "./model/decoder-shape.ts";
import { LoadedModel } from "./model/load-model.ts";

export interface GgmlExecutorOptions {
  /** GGUF file, the first of a split model. */
  readonly modelPath: string;
  /** Threads of the compute pool, >= 1; 1 computes on a thread of libuv's pool. */
  readonly threads: number;
  /** Sequences that can be held at once. */
  readonly slots: number;
  /** Most tokens of one sequence; the model's own context by default and at most. */
  readonly slotTokens?: number;
  /** Makes the memory of K and V; the executor disposes it. */
  readonly memory: (geometry: KvGeometry) => KvMemory;
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
    const memory = hold(options.memory(kv));
    checkStrides(memory, kv);
    const { kvHeads, headDim } = model.shape;
    const store = hold(new ContiguousStore(device, memory, kv, kvHeads, headDim));
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

function kvGeometry(shape: DecoderShape, options: GgmlExecutorOptions): KvGeometry {
  const slotTokens = options.slotTokens ?? shape.contextTokens;
  for (const [name, value] of [
    ["slots", options.slots],
    ["threads", options.threads],
    ["slotTokens", slotTokens],
  ] as const)
    if (!Number.isSafeInteger(value) || value < 1)
      throw new MillraceError(
        "CONFIG_INVALID",
        `${name} must be a whole number >= 1, not ${value}`,
      );
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
