/** An order of computation over tensors of an arena. */
import type { TensorArena } from "./arena.ts";
import { addressOf, badOperands } from "./fail.ts";
import type { Tensor } from "./tensor.ts";

export class Graph {
  readonly arena: TensorArena;
  readonly address: bigint;
  readonly #generation: number;

  /** Throws GGML_SHAPE when the arena has no room for another graph. */
  constructor(arena: TensorArena) {
    this.arena = arena;
    this.address = addressOf(
      arena.library.base.ggml_new_graph_custom(arena.takeGraph(), arena.graphCapacity, false),
      "making a graph",
    );
    this.#generation = arena.generation;
  }

  /** False once the arena was reset. */
  get current(): boolean {
    return this.#generation === this.arena.generation;
  }

  /** Nodes so far (operations and views; leaves not counted). */
  get nodes(): number {
    return this.arena.library.base.ggml_graph_n_nodes(this.address);
  }

  /**
   * Appends `tensor` and whatever it needs that is not in the graph yet. The order of calls is the order of effects: what
   * writes through a view must be appended before what reads the memory by another name.
   */
  expand(tensor: Tensor): Tensor {
    const { arena } = this;
    if (!this.current) badOperands("expand", "the graph is of an earlier build of its arena");
    if (tensor.arena !== arena || tensor.generation !== arena.generation)
      badOperands("expand", `${tensor} is not of this build of the graph's arena`);
    if (arena.used + arena.foreign > arena.graphCapacity)
      badOperands(
        "expand",
        `${arena.used} tensors and ${arena.foreign} operands exceed the graph's ${arena.graphCapacity}`,
      );
    arena.library.base.ggml_build_forward_expand(this.address, tensor.address);
    return tensor;
  }
}
