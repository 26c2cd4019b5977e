/** Gives the intermediate tensors of a graph memory, reusing it once their last reader has run. */
import { InvariantError } from "@millrace/core";
import { addressOf, nativeFailure } from "../fail.ts";
import type { Graph } from "../graph.ts";
import { closed, opened } from "../live-handles.ts";
import { captureLog } from "../native/log.ts";
import type { BufferType } from "./device.ts";

export class GraphAllocator implements Disposable {
  readonly #type: BufferType;
  readonly #address: bigint;
  #disposed = false;

  constructor(type: BufferType) {
    this.#type = type;
    this.#address = addressOf(
      type.library.base.ggml_gallocr_new(type.address),
      "making a graph allocator",
    );
    opened("graph allocator");
  }

  /** Places every tensor of the graph that has no data yet; memory grows to the largest graph seen. GGML_FAILED when full. */
  allocate(graph: Graph): void {
    if (this.#disposed) throw new InvariantError("allocate on a disposed allocator");
    if (!graph.current) throw new InvariantError("the graph is of an earlier build of its arena");
    const { base } = this.#type.library;
    if (!base.ggml_gallocr_alloc_graph(this.#address, graph.address)) {
      captureLog(() => base.ggml_gallocr_alloc_graph(this.#address, graph.address));
      nativeFailure(`no room for the ${graph.nodes} nodes of a graph`);
    }
  }

  /** Memory held, bytes. */
  get bytes(): number {
    return this.#type.library.base.ggml_gallocr_get_buffer_size(this.#address, 0);
  }

  /** Frees the memory; tensors placed in it must not be computed any more. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#type.library.base.ggml_gallocr_free(this.#address);
    closed("graph allocator");
  }
}
