/**
 * The graph of a decoder over one batch: linear layers over all columns at once, attention per group of columns, the output
 * head over the columns whose logits are wanted. The order of operations is that of llama.cpp's graphs, so that results are
 * equal to the bit where the shapes are.
 */
import {
  add,
  flashAttention,
  Graph,
  getRows,
  markOutput,
  mul,
  mulMat,
  newTensor,
  reshape,
  rmsNorm,
  rope,
  swigluSplit,
  type Tensor,
  type TensorArena,
  view,
} from "@millrace/ggml";
import type { BatchInputs } from "../batch/batch-inputs.ts";
import type { AttentionGroup, BatchLayout } from "../batch/batch-layout.ts";
import type { Masks } from "../batch/masks.ts";
import type { Area } from "../memory/area.ts";
import type { KvStore } from "../memory/kv-store.ts";
import type { DecoderShape } from "../model/decoder-shape.ts";
import type { DecoderWeights, LayerWeights, Linear } from "../model/decoder-weights.ts";
import type { AttentionSites } from "./attention-sites.ts";

/** What a graph is built from. */
export interface GraphParts {
  readonly shape: DecoderShape;
  readonly weights: DecoderWeights;
  readonly layout: BatchLayout;
  readonly inputs: BatchInputs;
  readonly masks: Masks;
  readonly store: KvStore;
  /** Attention of all groups, f32 [q dim, columns + 1]; one for all layers, since they run one after the other. */
  readonly mixed: Area;
  /** f32 [vocabulary, outputs]. */
  readonly logits: Area;
  /** Learns where the graph reads K and V. */
  readonly sites: AttentionSites;
}

/** Tensors that a build takes at most. */
export function graphTensors(layers: number, groups: number): number {
  return 16 + layers * (40 + 6 * groups) + groups;
}

/** Builds the graph of the planned batch into an arena that was reset. */
export function buildDecoder(arena: TensorArena, parts: GraphParts): Graph {
  const { shape, weights, layout, inputs, store } = parts;
  const graph = new Graph(arena);
  const input = inputs.tensors(arena, layout);
  const builder = new Builder(arena, graph, parts);
  let x = getRows(arena, weights.embedding, input.tokens);
  for (let layer = 0; layer < shape.layers; layer++) {
    const w = weights.layers[layer] as LayerWeights;
    const last = layer === shape.layers - 1;
    const normed = builder.norm(x, w.attentionNorm);
    const heads = (linear: Linear, n: number, norm: Tensor | null) => {
      const flat = builder.linear(linear, normed);
      const split = reshape(arena, flat, [shape.headDim, n, layout.columns]);
      const even = norm === null ? split : builder.norm(split, norm);
      return rope(arena, even, input.positions, weights.ropeFactors, shape.rope);
    };
    const skip = last && layout.outputs === 0;
    const q = skip ? null : graph.expand(heads(w.q, shape.heads, w.qNorm));
    const v = builder.linear(w.v, normed);
    const k = heads(w.k, shape.kvHeads, w.kNorm);
    const rows = reshape(arena, k, [shape.kvHeads * shape.headDim, layout.columns]);
    store.write(arena, graph, layer, builder.used(rows), builder.used(v), input.cacheRows);
    // Nobody wants logits: the last layer only leaves its K and V.
    if (q === null) return graph;
    let attended = builder.linear(w.output, builder.attention(layer, q));
    if (last && input.outputs !== null) {
      attended = getRows(arena, attended, input.outputs);
      x = getRows(arena, x, input.outputs);
    }
    const middle = add(arena, attended, x);
    x = add(arena, builder.feedForward(w, builder.norm(middle, w.ffnNorm)), middle);
  }
  const result = builder.linear(weights.head, builder.norm(x, weights.outputNorm));
  graph.expand(markOutput(parts.logits.point(result)));
  return graph;
}

class Builder {
  readonly #arena: TensorArena;
  readonly #graph: Graph;
  readonly #parts: GraphParts;
  readonly #masks: (Tensor | null)[] = [];
  readonly #scale: number;

  constructor(arena: TensorArena, graph: Graph, parts: GraphParts) {
    this.#arena = arena;
    this.#graph = graph;
    this.#parts = parts;
    this.#scale = Math.fround(1 / Math.fround(Math.sqrt(parts.shape.headDim)));
    for (let i = 0; i < parts.layout.groupCount; i++)
      this.#masks.push(parts.masks.tensor(arena, i, parts.layout.groups[i] as AttentionGroup));
  }

  norm(x: Tensor, weight: Tensor): Tensor {
    return mul(this.#arena, rmsNorm(this.#arena, x, this.#parts.shape.epsilon), weight);
  }

  linear({ weight, bias }: Linear, x: Tensor): Tensor {
    const product = mulMat(this.#arena, weight, x);
    return bias === null ? product : add(this.#arena, product, bias);
  }

  feedForward(w: LayerWeights, x: Tensor): Tensor {
    const up = this.linear(w.up, x);
    return this.linear(w.down, swigluSplit(this.#arena, this.linear(w.gate, x), up));
  }

  /** Without the padding. */
  used(x: Tensor): Tensor {
    const { used, columns } = this.#parts.layout;
    return used === columns ? x : view(this.#arena, x, [x.ne[0], used]);
  }

  /** Attention of all columns: f32 [q dim, columns]. q is f32 [head, heads, columns]. */
  attention(layer: number, q: Tensor): Tensor {
    const { layout, store, mixed, shape } = this.#parts;
    const arena = this.#arena;
    const width = shape.heads * shape.headDim;
    store.readLayer(arena, this.#graph, layer);
    const whole = layout.groupCount === 1 && layout.used === layout.columns;
    for (let i = 0; i < layout.groupCount; i++) {
      const group = layout.groups[i] as AttentionGroup;
      const result = this.#attend(layer, i, group, q);
      if (whole) return reshape(arena, result, [width, layout.columns]);
      mixed.point(result, group.first * width * 4);
      this.#graph.expand(result);
    }
    return mixed.point(newTensor(arena, "f32", [width, layout.columns]));
  }

  #attend(layer: number, index: number, group: AttentionGroup, q: Tensor): Tensor {
    const arena = this.#arena;
    const { headDim, heads } = this.#parts.shape;
    const { k, v } = this.#parts.store.read(arena, layer, index, group);
    this.#parts.sites.add(arena, k, v);
    const queries = group.doubled ? 2 : group.queries;
    const mine = view(
      arena,
      q,
      [headDim, queries, heads, group.rows],
      [q.nb[2], q.nb[1], q.nb[2] * queries],
      group.first * q.nb[2],
    );
    const mask = this.#masks[index] ?? null;
    return flashAttention(arena, mine, k, v, mask, this.#scale);
  }
}
