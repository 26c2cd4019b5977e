/** How tensor and pipeline parallelism cut a model: weights and KV per device, per stage. */
import {
  attentionParameters,
  expertLayers,
  kvElementsPerLayer,
  mlpMatrices,
} from "../catalogue/parameters.ts";
import type { ModelSpec } from "../types.ts";

/** Bytes of embeddings and LM head per parameter at least: quantised checkpoints leave them at 16 bits. */
const EMBEDDING_BYTES = 2;
/** Weights below one byte carry a 16-bit scale and a 4-bit zero point per group of 128 (AWQ, GPTQ). */
const GROUP = 128;
const GROUP_BYTES = 2.5;

/** KV heads that one device holds; replicated when there are more devices than heads. */
export function kvHeadsPerDevice(model: ModelSpec, tensorParallel: number): number {
  return Math.ceil(model.kvHeads / tensorParallel);
}

/** Bytes of KV per token and layer on one device. Latent KV is shared by all heads, so every device holds all of it. */
export function kvBytesPerTokenLayer(
  model: ModelSpec,
  tensorParallel: number,
  kvBytes: number,
): number {
  if (model.latentKv !== undefined) return kvElementsPerLayer(model) * kvBytes;
  return 2 * kvHeadsPerDevice(model, tensorParallel) * model.headDim * kvBytes;
}

/** Bytes of weights that one parameter takes, scales included. */
export function bytesPerParameter(weightBytes: number): number {
  return weightBytes < 1 ? weightBytes + GROUP_BYTES / GROUP : weightBytes;
}

/** Parameters of one layer's attention on one device. */
export function attentionPerDevice(model: ModelSpec, tensorParallel: number): number {
  const { hidden, heads, headDim, mla } = model;
  if (mla !== undefined) {
    // The projections down to the latent rows are not split.
    const down = hidden * (mla.kvRank + mla.ropeDim) + hidden * mla.queryRank;
    return down + (attentionParameters(model) - down) / tensorParallel;
  }
  const query = (2 * heads) / tensorParallel;
  return hidden * headDim * (query + 2 * kvHeadsPerDevice(model, tensorParallel));
}

/** Bytes of weights of one stage on one device. Stage layers are equal; the mean layer stands for mixed ones. */
export function stageWeightBytes(
  model: ModelSpec,
  tensorParallel: number,
  pipelineParallel: number,
  stage: number,
  weightBytes: number,
): number {
  const width = mlpMatrices(model) * model.hidden;
  const sparse = expertLayers(model);
  const dense = model.layers - sparse;
  let mlp = dense * width * (model.dense?.ffn ?? model.ffn);
  let routers = 0;
  if (model.experts !== undefined) {
    mlp += sparse * (model.experts.count + model.experts.shared) * width * model.ffn;
    routers = sparse * model.hidden * model.experts.count;
  }
  const attention = model.layers * attentionPerDevice(model, tensorParallel);
  const linear = (attention + mlp / tensorParallel) / pipelineParallel;
  const table = (model.vocab * model.hidden) / tensorParallel;
  const positions = model.learnedPositions === true ? model.maxContext * model.hidden : 0;
  const first = stage === 0;
  const last = stage === pipelineParallel - 1;
  // A tied head is the embedding itself where both live on one device.
  const head = last && !(model.tiedEmbeddings && first) ? table : 0;
  const wide = (first ? table + positions : 0) + head + routers / pipelineParallel;
  return linear * bytesPerParameter(weightBytes) + wide * Math.max(weightBytes, EMBEDDING_BYTES);
}
