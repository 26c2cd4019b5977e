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
  Stencil,
  swigluSplit,
  type Tensor,
  type TensorArena,
  view,
} from "@millrace/ggml";
import type { BatchInputs, InputTensors } from "../batch/batch-inputs.ts";
import type { AttentionGroup, BatchLayout } from "../batch/batch-layout.ts";
import type { Masks } from "../batch/masks.ts";
import type { Area } from "../memory/area.ts";
import type { KeysAndValues, KvStore } from "../memory/kv-store.ts";
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

/** Tensors that a layer takes at most. */
function layerTensors(groups: number): number {
  return 40 + 6 * groups;
}

/** Tensors that a build makes one by one at most, and those that it copies. */
export function graphTensors(
  layers: number,
  groups: number,
): { readonly made: number; readonly copied: number } {
  const made = 16 + groups + Math.min(layers, 3) * layerTensors(groups);
  return { made, copied: Math.max(0, layers - 3) * layerTensors(groups) };
}

/** A layer in the graph. */
interface Layer {
  /** First tensor of it. */
  readonly first: Tensor;
  /** What the next layer reads; null when the last layer only had to leave its K and V. */
  readonly out: Tensor | null;
  /** Operations in the order of their effects. */
  readonly effects: readonly Tensor[];
  readonly views: readonly KeysAndValues[];
}

/** Builds the graph of the planned batch into an arena that was reset. */
export function buildDecoder(arena: TensorArena, parts: GraphParts): Graph {
  const { shape, weights, inputs, layout } = parts;
  const graph = new Graph(arena);
  const builder = new Builder(arena, parts, inputs.tensors(arena, layout));
  const last = shape.layers - 1;
  let x = graph.expand(builder.embed());
  let stencil: { readonly run: Stencil; readonly of: Layer } | null = null;
  for (let layer = 0; layer <= last; layer++) {
    // The layers between the second and the last are copies of the second.
    const built: Layer =
      stencil !== null && layer < last
        ? copyLayer(stencil.run, stencil.of, builder.operands(layer, x))
        : builder.layer(layer, x);
    if (layer === 1 && layer < last - 1 && built.out !== null)
      stencil = {
        run: new Stencil(arena, built.first, built.out, builder.operands(1, x)),
        of: built,
      };
    for (const { k, v } of built.views) parts.sites.add(arena, k, v);
    // A copy reads the memory of the layer that it was copied from.
    const copied = stencil !== null && built !== stencil.of && layer < last;
    if (copied && parts.store.movable) parts.sites.settle(arena, layer, layout, parts.store);
    for (const effect of built.effects) graph.expand(effect);
    if (built.out === null) return graph;
    x = built.out;
  }
  const result = builder.linear(weights.head, builder.norm(x, weights.outputNorm));
  graph.expand(markOutput(parts.logits.point(result)));
  return graph;
}

function copyLayer(run: Stencil, of: Layer, operands: readonly Tensor[]): Layer {
  const copy = run.copy(operands);
  return {
    first: copy.of(of.first),
    out: of.out === null ? null : copy.of(of.out),
    effects: of.effects.map((effect) => copy.of(effect)),
    views: of.views.map(({ k, v }) => ({ k: copy.of(k), v: copy.of(v) })),
  };
}

class Builder {
  readonly #arena: TensorArena;
  readonly #parts: GraphParts;
  readonly #input: InputTensors;
  readonly #masks: (Tensor | null)[] = [];
  readonly #scale: number;

  constructor(arena: TensorArena, parts: GraphParts, input: InputTensors) {
    this.#arena = arena;
    this.#parts = parts;
    this.#input = input;
    this.#scale = Math.fround(1 / Math.fround(Math.sqrt(parts.shape.headDim)));
    for (let i = 0; i < parts.layout.groupCount; i++)
      this.#masks.push(parts.masks.tensor(arena, i, parts.layout.groups[i] as AttentionGroup));
  }

  embed(): Tensor {
    return getRows(this.#arena, this.#parts.weights.embedding, this.#input.tokens);
  }

  /** What a layer uses that other layers do not. */
  operands(layer: number, x: Tensor): Tensor[] {
    const { weights, store } = this.#parts;
    const w = weights.layers[layer] as LayerWeights;
    const list = [x, w.attentionNorm, w.ffnNorm, ...store.layerTensors(layer)];
    for (const { weight, bias } of [w.q, w.k, w.v, w.output, w.gate, w.up, w.down]) {
      list.push(weight);
      if (bias !== null) list.push(bias);
    }
    if (w.qNorm !== null) list.push(w.qNorm);
    if (w.kNorm !== null) list.push(w.kNorm);
    return list;
  }

  layer(layer: number, x: Tensor): Layer {
    const arena = this.#arena;
    const { shape, weights, layout, store } = this.#parts;
    const input = this.#input;
    const w = weights.layers[layer] as LayerWeights;
    const last = layer === shape.layers - 1;
    const first = rmsNorm(arena, x, shape.epsilon);
    const normed = mul(arena, first, w.attentionNorm);
    const v = this.linear(w.v, normed);
    const k = this.#heads(w.k, shape.kvHeads, w.kNorm, normed);
    const rows = reshape(arena, k, [shape.kvHeads * shape.headDim, layout.columns]);
    const effects = [
      ...store.write(arena, layer, this.#used(rows), this.#used(v), input.cacheRows),
    ];
    if (last && layout.outputs === 0) return { first, out: null, effects, views: [] };
    const q = this.#heads(w.q, shape.heads, w.qNorm, normed);
    effects.push(...store.readLayer(arena, layer));
    const { mixed, groups, views } = this.#attention(layer, q);
    effects.push(...groups);
    let attended = this.linear(w.output, mixed);
    let residual = x;
    if (last && input.outputs !== null) {
      attended = getRows(arena, attended, input.outputs);
      residual = getRows(arena, x, input.outputs);
    }
    const middle = add(arena, attended, residual);
    const out = add(arena, this.#feedForward(w, this.norm(middle, w.ffnNorm)), middle);
    return { first, out, effects, views };
  }

  /** Q or K by heads, rotated: f32 [head, n, columns]. */
  #heads(linear: Linear, n: number, norm: Tensor | null, x: Tensor): Tensor {
    const { shape, weights, layout } = this.#parts;
    const flat = this.linear(linear, x);
    const split = reshape(this.#arena, flat, [shape.headDim, n, layout.columns]);
    const even = norm === null ? split : this.norm(split, norm);
    return rope(this.#arena, even, this.#input.positions, weights.ropeFactors, shape.rope);
  }

  norm(x: Tensor, weight: Tensor): Tensor {
    return mul(this.#arena, rmsNorm(this.#arena, x, this.#parts.shape.epsilon), weight);
  }

  linear({ weight, bias }: Linear, x: Tensor): Tensor {
    const product = mulMat(this.#arena, weight, x);
    return bias === null ? product : add(this.#arena, product, bias);
  }

  #feedForward(w: LayerWeights, x: Tensor): Tensor {
    const up = this.linear(w.up, x);
    return this.linear(w.down, swigluSplit(this.#arena, this.linear(w.gate, x), up));
  }

  /** Without the padding. */
  #used(x: Tensor): Tensor {
    const { used, columns } = this.#parts.layout;
    return used === columns ? x : view(this.#arena, x, [x.ne[0], used]);
  }

  /** Attention of all columns: f32 [q dim, columns], after the operations of `groups`. q is f32 [head, heads, columns]. */
  #attention(
    layer: number,
    q: Tensor,
  ): { readonly mixed: Tensor; readonly groups: Tensor[]; readonly views: KeysAndValues[] } {
    const { layout, store, mixed, shape } = this.#parts;
    const arena = this.#arena;
    const width = shape.heads * shape.headDim;
    const whole = layout.groupCount === 1 && layout.used === layout.columns;
    const groups: Tensor[] = [];
    const views: KeysAndValues[] = [];
    for (let i = 0; i < layout.groupCount; i++) {
      const group = layout.groups[i] as AttentionGroup;
      const kv = store.read(arena, layer, i, group);
      views.push(kv);
      const result = this.#attend(kv, this.#masks[i] ?? null, group, q);
      if (whole) return { mixed: reshape(arena, result, [width, layout.columns]), groups, views };
      groups.push(mixed.point(result, group.first * width * 4));
    }
    return { mixed: mixed.point(newTensor(arena, "f32", [width, layout.columns])), groups, views };
  }

  #attend({ k, v }: KeysAndValues, mask: Tensor | null, group: AttentionGroup, q: Tensor): Tensor {
    const { headDim, heads } = this.#parts.shape;
    const queries = group.doubled ? 2 : group.queries;
    const mine = view(
      this.#arena,
      q,
      [headDim, queries, heads, group.rows],
      [q.nb[2], q.nb[1], q.nb[2] * queries],
      group.first * q.nb[2],
    );
    return flashAttention(this.#arena, mine, k, v, mask, this.#scale);
  }
}
