/** Parameter and KV sizes that follow from a model's geometry. Norms and biases (< 0.1 %) are left out. */
import type { ModelSpec } from "../types.ts";

/** Weights by where they live; counts of parameters, not bytes. */
export interface ParameterCount {
  /** All parameters, embedding and LM head included. */
  readonly total: number;
  /** Parameters that take part in one token: all but the experts that are not chosen. */
  readonly active: number;
  /** One layer's attention projections. */
  readonly attention: number;
  /** All layers' MLPs (experts, shared experts, routers, dense layers). */
  readonly mlp: number;
  /** Token embedding, plus learned positions. */
  readonly embedding: number;
  /** LM head as a matrix of its own; 0 when tied to the embedding. */
  readonly head: number;
}

/** Parameters of one layer's attention. */
export function attentionParameters(model: ModelSpec): number {
  const { hidden, heads, kvHeads, headDim, mla } = model;
  if (mla === undefined) return hidden * headDim * (2 * heads + 2 * kvHeads);
  const queryWidth = heads * (headDim + mla.ropeDim);
  const query = mla.queryRank > 0 ? mla.queryRank * (hidden + queryWidth) : hidden * queryWidth;
  const down = hidden * (mla.kvRank + mla.ropeDim);
  const up = mla.kvRank * heads * (headDim + mla.valueDim);
  return query + down + up + heads * mla.valueDim * hidden;
}

/** Matrices of an MLP: gate, up and down, or up and down. */
export function mlpMatrices(model: ModelSpec): number {
  return model.gated ? 3 : 2;
}

/** Layers whose MLP is a mixture of experts. */
export function expertLayers(model: ModelSpec): number {
  return model.experts === undefined ? 0 : model.layers - (model.dense?.layers ?? 0);
}

/** Elements of KV cache per token and layer. */
export function kvElementsPerLayer(model: ModelSpec): number {
  return model.latentKv ?? 2 * model.kvHeads * model.headDim;
}

/** Bytes of KV cache per token over all layers, on one device when not split; `kvBytes` per element. */
export function kvBytesPerToken(model: ModelSpec, kvBytes: number): number {
  return kvElementsPerLayer(model) * model.layers * kvBytes;
}

/** Counts the parameters of a model. */
export function parameterCount(model: ModelSpec): ParameterCount {
  const attention = attentionParameters(model);
  const perWidth = mlpMatrices(model) * model.hidden;
  const sparse = expertLayers(model);
  const denseLayers = model.layers - sparse;
  const denseMlp = denseLayers * perWidth * (model.dense?.ffn ?? model.ffn);
  let mlp = denseMlp;
  let activeMlp = denseMlp;
  if (model.experts !== undefined) {
    const { count, active, shared } = model.experts;
    const router = model.hidden * count;
    mlp += sparse * ((count + shared) * perWidth * model.ffn + router);
    activeMlp += sparse * ((active + shared) * perWidth * model.ffn + router);
  }
  const positions = model.learnedPositions === true ? model.maxContext * model.hidden : 0;
  const embedding = model.vocab * model.hidden + positions;
  const head = model.tiedEmbeddings ? 0 : model.vocab * model.hidden;
  const rest = model.layers * attention + embedding + head;
  return { total: rest + mlp, active: rest + activeMlp, attention, mlp, embedding, head };
}
