/**
 * The executor over graphs of our own: hybrid batches in one pass, K and V wherever the KV memory has them. This file ties the
 * parts of a step together; shapes are checked before ggml sees them, and the event loop stays free while a batch computes.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import { type Backend, type Graph, GraphAllocator, TensorArena } from "@millrace/ggml";
import type { Executor, ExecutorBatch, KvGeometry, KvMemory, ModelCard } from "../../contracts.ts";
import { BatchInputs } from "./batch/batch-inputs.ts";
import { type AttentionGroup, BatchLayout, tileQueries } from "./batch/batch-layout.ts";
import { checkBatch } from "./batch/check-batch.ts";
import { Masks, maskKeys } from "./batch/masks.ts";
import { AttentionSites } from "./graph/attention-sites.ts";
import { buildDecoder, graphTensors } from "./graph/decoder-graph.ts";
import { Signature } from "./graph/signature.ts";
import { Area } from "./memory/area.ts";
import type { KvStore } from "./memory/kv-store.ts";
import type { LoadedModel } from "./model/load-model.ts";

/** What an executor is put together from; `openGgmlExecutor` does it. It disposes all of it. */
export interface ExecutorParts {
  readonly card: ModelCard;
  readonly model: LoadedModel;
  readonly backend: Backend;
  readonly kv: KvGeometry;
  readonly store: KvStore;
  /** Results do not depend on batch mates or chunk borders. */
  readonly deterministic: boolean;
  readonly threads: number;
  /** Disposed last. */
  readonly pool: Disposable | null;
}

/**
 * Queries of a prefill that attend at once. The kernel hands each thread four shares of heads x queries; shares that are
 * whole tiles waste nothing.
 */
function blockQueries(heads: number, threads: number): number {
  const shares = threads === 1 ? 1 : 4 * threads;
  let queries = 2 * tileQueries;
  while ((heads * queries) % (shares * tileQueries) !== 0) queries += tileQueries;
  return queries;
}

export class GgmlExecutor implements Executor {
  readonly card: ModelCard;
  readonly kv: KvGeometry;
  readonly memory: KvMemory | null;
  readonly tileTokens = tileQueries;
  lastOverheadSeconds = 0;
  readonly #parts: ExecutorParts;
  readonly #layout: BatchLayout;
  readonly #inputs: BatchInputs;
  readonly #masks: Masks;
  readonly #mixed: Area;
  readonly #logits: Area;
  readonly #allocator: GraphAllocator;
  readonly #signature = new Signature();
  readonly #sites = new AttentionSites();
  readonly #seen: Uint8Array;
  #arena: TensorArena;
  #graph: Graph | null = null;
  #values: Float32Array = new Float32Array(0);
  #busy = false;
  #failure: string | null = null;
  #disposed = false;

  constructor(parts: ExecutorParts) {
    const { device, shape } = parts.model;
    this.#parts = parts;
    this.card = parts.card;
    this.kv = parts.kv;
    this.memory = parts.store.memory;
    this.#layout = new BatchLayout({
      even: parts.deterministic,
      blockQueries: blockQueries(shape.heads, parts.threads),
      window: shape.window,
      threads: parts.threads,
      slotTokens: parts.kv.slotTokens,
    });
    this.#inputs = new BatchInputs(device);
    this.#masks = new Masks(device, shape.window);
    this.#mixed = new Area(device, 64);
    this.#logits = new Area(device, 64);
    this.#allocator = new GraphAllocator(device.bufferType);
    this.#seen = new Uint8Array(parts.kv.slots);
    this.#arena = this.#newArena(4);
  }

  /** Bytes of intermediate results, for the largest batch so far. */
  get scratchBytes(): number {
    return this.#allocator.bytes + this.#mixed.bytes + this.#logits.bytes;
  }

  async compute(batch: ExecutorBatch): Promise<void> {
    if (this.#disposed) throw new InvariantError("compute on a disposed executor");
    if (this.#busy) throw new InvariantError("a batch is computed already");
    if (this.#failure !== null) throw stepFailed(this.#failure);
    checkBatch(batch, this.kv, this.#parts.model.shape.vocabulary, this.#seen);
    this.#busy = true;
    try {
      const from = performance.now();
      const graph = this.#prepare(batch);
      this.lastOverheadSeconds = (performance.now() - from) / 1000;
      await this.#parts.backend.computeAsync(graph);
      const { vocabulary } = this.#parts.model.shape;
      this.#logits.download(this.#layout.outputs * vocabulary * 4);
    } catch (error) {
      this.#failure = error instanceof Error ? error.message : String(error);
      throw stepFailed(this.#failure, error);
    } finally {
      this.#busy = false;
    }
  }

  logits(row: number): Float32Array {
    const place = this.#layout.output[row];
    if (this.#busy || place === undefined || place < 0)
      throw new InvariantError(`row ${row} has no logits`);
    const { vocabulary } = this.#parts.model.shape;
    return this.#values.subarray(place * vocabulary, (place + 1) * vocabulary);
  }

  truncate(slot: number, tokens: number): void {
    this.#parts.store.truncate(slot, tokens);
  }

  /** The graph of the batch with its inputs filled: the last one again where only inputs changed. */
  #prepare(batch: ExecutorBatch): Graph {
    const layout = this.#layout;
    const { store, model } = this.#parts;
    layout.plan(batch);
    this.#room();
    store.prepare(batch, layout);
    this.#inputs.fill(batch, layout, store.writeRow);
    this.#masks.fill(batch, layout);
    const stale = this.#sign();
    if (this.#graph !== null && !stale && store.movable) {
      this.#sites.move(this.#arena, layout, store);
      return this.#graph;
    }
    this.#graph = null;
    this.#sites.begin(layout);
    if (graphTensors(model.shape.layers, layout.groupCount).made > this.#arena.capacity) {
      this.#arena[Symbol.dispose]();
      this.#arena = this.#newArena(layout.groupCount * 2);
    } else this.#arena.reset();
    const graph = buildDecoder(this.#arena, {
      shape: model.shape,
      weights: model.weights,
      layout,
      inputs: this.#inputs,
      masks: this.#masks,
      store,
      mixed: this.#mixed,
      logits: this.#logits,
      sites: this.#sites,
    });
    this.#allocator.allocate(graph);
    this.#graph = graph;
    return graph;
  }

  #room(): void {
    const { shape } = this.#parts.model;
    this.#mixed.ensure(this.#layout.columns * shape.heads * shape.headDim * 4);
    if (
      this.#logits.ensure(this.#layout.outputs * shape.vocabulary * 4) ||
      this.#values.length === 0
    )
      this.#values = this.#logits.host.f32();
  }

  /** True when the batch needs another graph than the last one. */
  #sign(): boolean {
    const layout = this.#layout;
    const s = this.#signature;
    s.begin();
    s.add(layout.columns);
    s.add(layout.used);
    s.add(layout.outputs);
    s.add(this.#inputs.picked ? 1 : 0);
    s.add(this.#inputs.moves);
    s.add(this.#masks.moves);
    s.add(this.#mixed.moves);
    s.add(this.#logits.moves);
    s.add(this.#parts.store.moves);
    for (let i = 0; i < layout.groupCount; i++) {
      const group = layout.groups[i] as AttentionGroup;
      s.add(group.first);
      s.add(group.queries);
      s.add(group.rows);
      s.add(maskKeys(group));
      s.add(group.doubled ? 1 : 0);
    }
    return s.end();
  }

  #newArena(groups: number): TensorArena {
    const { device, shape, tensors: weights } = this.#parts.model;
    const { made, copied } = graphTensors(shape.layers, groups);
    return new TensorArena(device.library, {
      tensors: made,
      copies: copied,
      graphCapacity: made + copied + weights + 4 * shape.layers,
    });
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    if (this.#busy) throw new InvariantError("dispose while a batch is computed");
    this.#disposed = true;
    this.#graph = null;
    this.#arena[Symbol.dispose]();
    this.#allocator[Symbol.dispose]();
    for (const part of [this.#inputs, this.#masks, this.#mixed, this.#logits])
      part[Symbol.dispose]();
    const { backend, store, model, pool } = this.#parts;
    backend[Symbol.dispose]();
    pool?.[Symbol.dispose]();
    store[Symbol.dispose]();
    model[Symbol.dispose]();
  }
}

function stepFailed(message: string, cause?: unknown): MillraceError {
  return new MillraceError("ENGINE_STEP_FAILED", `the step could not be computed: ${message}`, {
    hint: "the executor is unusable from now on; the engine process has to be started again",
    cause,
  });
}
