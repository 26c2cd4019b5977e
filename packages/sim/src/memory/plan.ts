/**
 * The memory planner: what a device of a replica holds, and how much is left for the KV cache. An impossible deployment
 * is a value that names the term that is too large, not an exception. Vidur's own planner is kept as a mode.
 */
import type { DeviceSpec, KvConfig, ModelSpec, SimulationConfig } from "../types.ts";
import { kvBytesPerTokenLayer, kvHeadsPerDevice, stageWeightBytes } from "./split.ts";
import { planVidurMemory } from "./vidur.ts";

/** CUDA context, libraries and allocator: recalled from nvidia-smi of an idle PyTorch process, 0.5-0.6 GB. */
const CONTEXT_BYTES = 0.6e9;
/** NCCL buffers of a tensor-parallel group: 342-392 MB for 2-8 devices (AIConfigurator's system files). */
const NCCL_BYTES = 0.392e9;
/** Send and receive buffers between stages; recalled. */
const PIPELINE_BYTES = 0.1e9;
/** CUDA graphs of decode batches: recalled from vLLM start-up logs of 7B-70B models, 0.3-1 GB. */
const GRAPH_BYTES = 0.6e9;
/** Allocator fragmentation, share of the device memory; with the terms above about the 3.5 GB that AIConfigurator reserves on 80 GB. */
const FRAGMENTATION = 0.02;
/** Bytes per logit: 16-bit output, 32-bit copy, 32-bit probabilities of the sampler. */
const LOGIT_BYTES = 10;
/** Bytes per activation element. */
const ACTIVATION_BYTES = 2;

/** What the planner needs to know beside model and device. */
export interface MemoryOptions {
  readonly tensorParallel: number;
  readonly pipelineParallel: number;
  /** Bytes per weight: 2, 1 or 0.5. */
  readonly weightBytes: number;
  /** Bytes per KV element: 2 or 1. */
  readonly kvBytes: number;
  /** Most tokens of one step. */
  readonly maxTokensInBatch: number;
  readonly batchSizeCap: number;
  /** Tokens of the longest request; at least one such request must fit. */
  readonly maxRequestTokens: number;
  readonly kv: Pick<KvConfig, "type" | "blockSize" | "pageBytes" | "layout">;
  readonly compatibility: "none" | "vidur";
}

/** What is too large. `heads` and `layers` are not divisible by TP or PP; `bytes` is 0 for them. */
export interface Shortfall {
  readonly term: "weights" | "activations" | "kv" | "heads" | "layers";
  /** Bytes missing per device. */
  readonly bytes: number;
  /** One sentence with the figures. */
  readonly reason: string;
}

/** The memory of one device; bytes. The fullest stage decides. */
export interface MemoryPlan {
  readonly deviceBytes: number;
  readonly weightsBytes: number;
  readonly activationBytes: number;
  /** Context, communication buffers, graphs, fragmentation; in Vidur mode its 10 % margin. */
  readonly reserveBytes: number;
  readonly kvBytesAvailable: number;
  /** KV bytes per token on one device. */
  readonly kvBytesPerToken: number;
  /** Paged: blocks; vattention: groups of pages that hold the same tokens of all tensors; static: slots. Per replica. */
  readonly kvBlocks: number;
  /** Tokens per block, group or slot. */
  readonly blockTokens: number;
  /** Physical pages per group (vattention); 1 otherwise. */
  readonly pagesPerBlock: number;
  readonly tokensCapacity: number;
  /** True when one request of full length fits. */
  readonly fits: boolean;
  readonly shortfall: Shortfall | null;
}

/** The planner's options of a simulation. */
export function memoryOptionsOf(config: SimulationConfig): MemoryOptions {
  const { scheduler } = config;
  const chunked =
    scheduler.type === "vllm-v1" ||
    scheduler.type === "sarathi" ||
    scheduler.type === "sarathi-serve" ||
    scheduler.type === "simple-chunking";
  return {
    tensorParallel: config.tensorParallel,
    pipelineParallel: config.pipelineParallel,
    weightBytes: config.weightBytes,
    kvBytes: config.kvBytes,
    maxTokensInBatch: chunked
      ? Math.max(scheduler.chunkSize, scheduler.batchSizeCap)
      : Math.max(scheduler.maxTokensInBatch, scheduler.maxRequestTokens),
    batchSizeCap: scheduler.batchSizeCap,
    maxRequestTokens: scheduler.maxRequestTokens,
    kv: config.kv,
    compatibility: config.compatibility,
  };
}

/** Plans the memory of one replica's devices. Never throws for a deployment that does not fit. O(pipelineParallel). */
export function planMemory(
  model: ModelSpec,
  device: DeviceSpec,
  options: MemoryOptions,
): MemoryPlan {
  const { tensorParallel, pipelineParallel } = options;
  const indivisible = checkDivision(model, tensorParallel, pipelineParallel);
  const layout = blockLayout(model, options);
  const terms =
    options.compatibility === "vidur"
      ? vidurTerms(model, device, options)
      : correctedTerms(model, device, options);
  const { weightsBytes, activationBytes, reserveBytes } = terms;
  const left = device.memoryBytes - weightsBytes - activationBytes - reserveBytes;
  const kvBytesAvailable = Math.max(left, 0);
  const kvBlocks = terms.blocks ?? Math.floor(kvBytesAvailable / layout.bytes);
  const tokensCapacity = kvBlocks * layout.tokens;
  const needed = Math.ceil(options.maxRequestTokens / layout.tokens) * layout.bytes;
  const shortfall =
    indivisible ??
    (tokensCapacity >= options.maxRequestTokens
      ? null
      : findShortfall(device, terms, left, needed, options.maxRequestTokens));
  return {
    deviceBytes: device.memoryBytes,
    weightsBytes,
    activationBytes,
    reserveBytes,
    kvBytesAvailable,
    kvBytesPerToken: layout.bytesPerToken,
    kvBlocks,
    blockTokens: layout.tokens,
    pagesPerBlock: layout.pages,
    tokensCapacity,
    fits: shortfall === null,
    shortfall,
  };
}

interface Terms {
  readonly weightsBytes: number;
  readonly activationBytes: number;
  readonly reserveBytes: number;
  /** Set when the mode counts blocks itself. */
  readonly blocks?: number;
}

function correctedTerms(model: ModelSpec, device: DeviceSpec, options: MemoryOptions): Terms {
  const { tensorParallel, pipelineParallel, weightBytes } = options;
  const reserveBytes =
    CONTEXT_BYTES +
    GRAPH_BYTES +
    (tensorParallel > 1 ? NCCL_BYTES : 0) +
    (pipelineParallel > 1 ? PIPELINE_BYTES : 0) +
    FRAGMENTATION * device.memoryBytes;
  let worst: Terms = { weightsBytes: 0, activationBytes: 0, reserveBytes };
  for (const stage of new Set([0, pipelineParallel - 1])) {
    const weightsBytes = stageWeightBytes(
      model,
      tensorParallel,
      pipelineParallel,
      stage,
      weightBytes,
    );
    const activationBytes = peakActivation(model, options, stage === pipelineParallel - 1);
    if (weightsBytes + activationBytes >= worst.weightsBytes + worst.activationBytes)
      worst = { weightsBytes, activationBytes, reserveBytes };
  }
  return worst;
}

/** Peak over a layer's phases with the residual stream, or the logits; inference keeps no activations between layers. */
function peakActivation(model: ModelSpec, options: MemoryOptions, last: boolean): number {
  const { tensorParallel } = options;
  const tokens = options.maxTokensInBatch;
  const residual = 2 * tokens * model.hidden;
  const kvHeads = kvHeadsPerDevice(model, tensorParallel);
  const attention = tokens * model.headDim * ((2 * model.heads) / tensorParallel + 2 * kvHeads);
  const copies = model.experts === undefined ? 1 : model.experts.active + model.experts.shared;
  const dense = model.dense?.ffn ?? 0;
  const width = Math.max(model.ffn * copies, dense);
  const mlp = (tokens * width * (model.gated ? 3 : 2)) / tensorParallel;
  const layer = (residual + Math.max(attention, mlp)) * ACTIVATION_BYTES;
  const rows = Math.min(options.batchSizeCap, tokens);
  const logits = last ? residual * ACTIVATION_BYTES + rows * model.vocab * LOGIT_BYTES : 0;
  return Math.max(layer, logits);
}

function vidurTerms(model: ModelSpec, device: DeviceSpec, options: MemoryOptions): Terms {
  const { tensorParallel, pipelineParallel, maxRequestTokens, kv } = options;
  const plan = planVidurMemory(
    model,
    device,
    tensorParallel,
    pipelineParallel,
    maxRequestTokens,
    kv.type === "paged" ? kv.blockSize : maxRequestTokens,
  );
  const terms: Terms = {
    weightsBytes: plan.weightsBytes,
    activationBytes: 0,
    reserveBytes: device.memoryBytes - plan.availableBytes,
  };
  return kv.type === "vattention" ? terms : { ...terms, blocks: plan.blocks };
}

interface BlockLayout {
  readonly tokens: number;
  readonly bytes: number;
  readonly pages: number;
  readonly bytesPerToken: number;
}

/** What one block holds and takes on a device of one stage. vAttention, section 6: tensors of K and V per layer, or sliced. */
function blockLayout(model: ModelSpec, options: MemoryOptions): BlockLayout {
  const { tensorParallel, pipelineParallel, kvBytes, kv } = options;
  const layers = Math.ceil(model.layers / pipelineParallel);
  const perLayer = kvBytesPerTokenLayer(model, tensorParallel, kvBytes);
  const bytesPerToken = perLayer * layers;
  if (kv.type !== "vattention") {
    const tokens = kv.type === "paged" ? kv.blockSize : options.maxRequestTokens;
    return { tokens, bytes: tokens * bytesPerToken, pages: 1, bytesPerToken };
  }
  const sides = model.latentKv === undefined ? 2 : 1;
  const tensors = kv.layout === "per-layer" ? sides * layers : sides;
  const slice = bytesPerToken / tensors;
  const tokens = Math.max(Math.floor(kv.pageBytes / slice), 1);
  const pages = tensors * Math.ceil((tokens * slice) / kv.pageBytes);
  return { tokens, bytes: pages * kv.pageBytes, pages, bytesPerToken };
}

function checkDivision(model: ModelSpec, tensor: number, pipeline: number): Shortfall | null {
  if (model.heads % tensor !== 0)
    return {
      term: "heads",
      bytes: 0,
      reason: `${model.heads} attention heads are not divisible by tensorParallel ${tensor}`,
    };
  if (model.kvHeads % tensor !== 0 && tensor % model.kvHeads !== 0)
    return {
      term: "heads",
      bytes: 0,
      reason: `${model.kvHeads} KV heads can be neither divided nor replicated evenly over tensorParallel ${tensor}`,
    };
  if (model.layers % pipeline !== 0)
    return {
      term: "layers",
      bytes: 0,
      reason: `${model.layers} layers are not divisible by pipelineParallel ${pipeline}`,
    };
  return null;
}

function findShortfall(
  device: DeviceSpec,
  terms: Terms,
  left: number,
  needed: number,
  maxRequestTokens: number,
): Shortfall {
  const total = gigabytes(device.memoryBytes);
  const room = device.memoryBytes - terms.reserveBytes;
  if (terms.weightsBytes > room)
    return {
      term: "weights",
      bytes: terms.weightsBytes - room,
      reason: `weights take ${gigabytes(terms.weightsBytes)} per device, ${gigabytes(terms.weightsBytes - room)} more than ${device.name} has beside its reserve (${total})`,
    };
  if (left < 0)
    return {
      term: "activations",
      bytes: -left,
      reason: `activations take ${gigabytes(terms.activationBytes)}, ${gigabytes(-left)} more than ${device.name} (${total}) has beside weights of ${gigabytes(terms.weightsBytes)}`,
    };
  return {
    term: "kv",
    bytes: needed - left,
    reason: `a request of ${maxRequestTokens} tokens needs ${gigabytes(needed)} of KV cache, ${gigabytes(needed - left)} more than ${device.name} (${total}) has left`,
  };
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toPrecision(3)} GB`;
}
