/**
 * One operator as native code: a small ggml graph whose operands, results, intermediates and work area all get addresses
 * from outside. Built once per place in a plan; running it is one call.
 */
import { InvariantError } from "@millrace/core";
import {
  Graph,
  type NativeLibrary,
  newTensor,
  PlannedGraph,
  type Tensor,
  TensorArena,
  type TensorType,
  type ThreadPool,
  tensorStruct,
  workBytes,
} from "@millrace/ggml";
import { aligned, type Interval, place } from "./place.ts";

/** Type and extents (fastest first) of an operand. */
export interface OperandShape {
  readonly type: TensorType;
  readonly ne: readonly number[];
}

/** What a kernel's builder works with: operands by name, operators on `arena`, effects in the order of `run`. */
export interface KernelBuilder {
  readonly arena: TensorArena;
  /** The tensor of an operand: what it reads, or memory it writes part by part. */
  operand(name: string): Tensor;
  has(name: string): boolean;
  /** Computes `tensor` here, after everything run before. */
  run(tensor: Tensor): Tensor;
  /** Computes `tensor` into the operand's memory; it must have the operand's bytes and not be a view. */
  into(name: string, tensor: Tensor): Tensor;
}

export type KernelBuild = (k: KernelBuilder) => void;

const noAddress = 0n;

/** A kernel's graph in some arena. */
interface Assembly {
  readonly graph: Graph;
  readonly operands: ReadonlyMap<string, Tensor>;
  /** Operand that each output is computed into, by the output's address. */
  readonly outputs: ReadonlyMap<bigint, string>;
}

function assemble(
  arena: TensorArena,
  shapes: ReadonlyMap<string, OperandShape>,
  build: KernelBuild,
): Assembly {
  const graph = new Graph(arena);
  const outputs = new Map<bigint, string>();
  const operands = new Map(
    [...shapes].map(([name, { type, ne }]) => [name, newTensor(arena, type, ne)] as const),
  );
  const operand = (name: string): Tensor => {
    const tensor = operands.get(name);
    if (tensor === undefined) throw new InvariantError(`the kernel has no operand ${name}`);
    return tensor;
  };
  build({
    arena,
    operand,
    has: (name) => operands.has(name),
    run: (tensor) => graph.expand(tensor),
    into: (name, tensor) => {
      const target = operand(name);
      if (tensor.bytes !== target.bytes || arena.field(tensor, tensorStruct.viewSrc) !== noAddress)
        throw new InvariantError(`${tensor} cannot be computed into ${name} ${target}`);
      outputs.set(tensor.address, name);
      return graph.expand(tensor);
    },
  });
  return { graph, operands, outputs };
}

/** Tensors that the scratch arena is made for at first, and at most. */
const scratchTensors = { first: 1024, most: 32768 } as const;

/** Where kernels are tried: one arena for all, since the memory of many would stay until the heap is next collected. */
let scratch: TensorArena | null = null;

/** Tensors that a kernel is made of. Thousands of kernels live as long as the plan: none may keep more than it uses. */
function countTensors(
  library: NativeLibrary,
  shapes: ReadonlyMap<string, OperandShape>,
  build: KernelBuild,
): number {
  for (;;) {
    const tensors = scratch?.capacity ?? scratchTensors.first;
    scratch ??= new TensorArena(library, { tensors, graphCapacity: tensors });
    try {
      scratch.reset();
      assemble(scratch, shapes, build);
      return scratch.used + scratch.foreign;
    } catch (error) {
      const full = error instanceof Error && /arena is full|exceed the graph/.test(error.message);
      if (!full || tensors >= scratchTensors.most) throw error;
      scratch[Symbol.dispose]();
      scratch = new TensorArena(library, { tensors: 4 * tensors, graphCapacity: 4 * tensors });
    }
  }
}

interface Node {
  readonly address: bigint;
  /** What it is a view of, or 0. */
  readonly viewOf: bigint;
  readonly viewOffset: bigint;
  readonly bytes: number;
}

export class Kernel implements Disposable {
  /** Intermediates and the operators' work area, bytes. */
  readonly workspaceBytes: number;
  readonly #arena: TensorArena;
  readonly #graph: Graph;
  readonly #pool: ThreadPool;
  readonly #operands: ReadonlyMap<string, Tensor>;
  readonly #outputs: ReadonlyMap<bigint, string>;
  readonly #nodes: readonly Node[];
  /** Offset of each intermediate in the workspace, by address of its tensor. */
  readonly #inside = new Map<bigint, number>();
  readonly #workAt: number;
  readonly #workBytes: number;
  #planned: PlannedGraph | null = null;

  /** Throws GGML_SHAPE when the operands do not fit the operators. */
  static build(
    library: NativeLibrary,
    pool: ThreadPool,
    shapes: ReadonlyMap<string, OperandShape>,
    build: KernelBuild,
  ): Kernel {
    const nodes = countTensors(library, shapes, build) + 1;
    const arena = new TensorArena(library, { tensors: nodes, graphCapacity: nodes });
    try {
      return new Kernel(arena, pool, assemble(arena, shapes, build));
    } catch (error) {
      arena[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(arena: TensorArena, pool: ThreadPool, assembly: Assembly) {
    this.#pool = pool;
    this.#arena = arena;
    const { graph, operands, outputs } = assembly;
    this.#graph = graph;
    this.#operands = operands;
    this.#outputs = outputs;
    this.#nodes = this.#list();
    const intervals: Interval[] = [];
    const owners: bigint[] = [];
    const own = this.#lifetimes();
    for (const [address, interval] of own) {
      intervals.push(interval);
      owners.push(address);
    }
    const placement = place(intervals);
    owners.forEach((address, i) => {
      this.#inside.set(address, placement.offsets[i] as number);
    });
    this.#workAt = placement.bytes;
    this.#workBytes = workBytes(this.#graph, pool.threads);
    this.workspaceBytes = placement.bytes + aligned(this.#workBytes);
  }

  /** Gives every tensor its memory: operands by name, the workspace (0 when it needs none), all in one buffer. */
  bind(addresses: ReadonlyMap<string, bigint>, workspace: bigint, buffer: bigint): void {
    const arena = this.#arena;
    const data = new Map<bigint, bigint>();
    for (const [name, tensor] of this.#operands) {
      const address = addresses.get(name);
      if (address === undefined) throw new InvariantError(`the operand ${name} has no address`);
      data.set(tensor.address, address);
    }
    for (const node of this.#nodes) {
      const output = this.#outputs.get(node.address);
      const inside = this.#inside.get(node.address);
      if (output !== undefined) data.set(node.address, addresses.get(output) as bigint);
      else if (inside !== undefined) data.set(node.address, workspace + BigInt(inside));
      else {
        const base = data.get(node.viewOf);
        if (base === undefined) throw new InvariantError("a view of a tensor without memory");
        data.set(node.address, base + node.viewOffset);
      }
    }
    for (const [tensor, address] of data) {
      arena.setWordAt(tensor, tensorStruct.buffer, buffer);
      arena.setWordAt(tensor, tensorStruct.data, address);
    }
    this.#planned = new PlannedGraph(
      this.#graph,
      this.#pool,
      this.#workBytes === 0 ? 0n : workspace + BigInt(this.#workAt),
    );
  }

  /** Computes; blocks. Throws GGML_FAILED. */
  run(): void {
    if (this.#planned === null) throw new InvariantError("a kernel ran before it had memory");
    this.#planned.compute();
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }

  /** What the graph computes. A parameter is a node of the graph too, but an operand here, with memory of its own. */
  #list(): Node[] {
    const { base } = this.#arena.library;
    const operands = new Set([...this.#operands.values()].map(({ address }) => address));
    return Array.from(
      { length: this.#graph.nodes },
      (_, i) => base.ggml_graph_node(this.#graph.address, i) as bigint,
    )
      .filter((address) => !operands.has(address))
      .map((address) => ({
        address,
        viewOf: this.#arena.wordAt(address, tensorStruct.viewSrc),
        viewOffset: this.#arena.wordAt(address, tensorStruct.viewOffs),
        bytes: base.ggml_nbytes(address),
      }));
  }

  /** Intermediates: from the operator that makes one to the last that reads it or a view of it. */
  #lifetimes(): Map<bigint, Interval> {
    const own = new Map<bigint, Interval>();
    const root = new Map<bigint, bigint>();
    this.#nodes.forEach((node, i) => {
      root.set(node.address, node.viewOf === noAddress ? node.address : node.viewOf);
      const mine = root.get(node.address) as bigint;
      if (node.viewOf === noAddress && !this.#outputs.has(node.address))
        own.set(node.address, { bytes: node.bytes, from: i, to: i });
      const touched = [mine];
      for (let s = 0; s < 10; s++) {
        const source = this.#arena.wordAt(node.address, tensorStruct.src + 8 * s);
        if (source !== noAddress) touched.push(root.get(source) ?? source);
      }
      for (const address of touched) {
        const interval = own.get(address);
        if (interval !== undefined) own.set(address, { ...interval, to: i });
      }
    });
    return own;
  }
}
