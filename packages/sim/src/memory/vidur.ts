/** Vidur's memory planner, as it is: no embedding, no activations, KV of all layers on every stage. */
import type { DeviceSpec, ModelSpec } from "../types.ts";

/** Share of the device memory that Vidur leaves free. */
const MARGIN = 0.1;
const GIB = 2 ** 30;

/** What Vidur's planner decides. Bytes per device. */
export interface VidurMemory {
  readonly weightsBytes: number;
  readonly availableBytes: number;
  readonly bytesPerRequest: number;
  /** Requests of full length that fit beside the weights; Vidur stops with an assertion below 1. */
  readonly maxBatch: number;
  /** Blocks per replica. */
  readonly blocks: number;
}

/** Plans as Vidur does; weights and KV are 16 bit, `maxRequestTokens` and `blockSize` in tokens. */
export function planVidurMemory(
  model: ModelSpec,
  device: DeviceSpec,
  tensorParallel: number,
  pipelineParallel: number,
  maxRequestTokens: number,
  blockSize: number,
): VidurMemory {
  const headDim = Math.floor(model.hidden / model.heads);
  const queryHeads = Math.floor(model.heads / tensorParallel);
  const kvHeads = Math.ceil(model.kvHeads / tensorParallel);
  const mlp = Math.floor(((model.gated ? 3 : 2) * model.hidden * model.ffn) / tensorParallel);
  const perLayer =
    model.hidden * headDim * (queryHeads + 2 * kvHeads) + model.hidden * headDim * queryHeads + mlp;
  const weightsBytes = 2 * perLayer * Math.floor(model.layers / pipelineParallel);
  // Vidur's SKU table counts whole GiB.
  const availableBytes = Math.round(device.memoryBytes / GIB) * GIB * (1 - MARGIN);
  const bytesPerRequest = 2 * 2 * headDim * kvHeads * maxRequestTokens * model.layers;
  const maxBatch = Math.floor((availableBytes - weightsBytes) / bytesPerRequest);
  const blocks =
    Math.floor(maxRequestTokens / blockSize) * Math.max(maxBatch, 0) * pipelineParallel;
  return { weightsBytes, availableBytes, bytesPerRequest, maxBatch, blocks };
}
