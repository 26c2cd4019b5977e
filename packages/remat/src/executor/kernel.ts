/**
 * One operator as native code: a small ggml graph whose operands, results, intermediates and work area all get addresses
 * from outside. Built once for all places of a plan that compute alike; running it is one call.
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

/** Memory for one run of a kernel, the same for all runs at one place of a plan. */
export interface KernelPlace {
  /** Addresses of the operands, in the order of their shapes. */
  readonly operands: Float64Array;
  /** Address of the workspace; 0 when there is none. */
  readonly workspace: number;
  /** ggml's handle of the memory that all of it lies in. */
  readonly buffer: bigint;
}

interface Node {
  readonly address: bigint;
  /** What it is a view of, or 0. */
  readonly viewOf: bigint;
  readonly viewOffset: bigint;
  readonly bytes: number;
}

/** A place among the operands. */
const workspaceSource = -1;

export class Kernel implements Disposable {
  /** Intermediates and the operators' work area, bytes. */
  readonly workspaceBytes: number;
  readonly #arena: TensorArena;
  /** For each tensor: the word of its data pointer, whose memory it lies in, and how far inside. */
  readonly #words: Int32Array;
  readonly #sources: Int16Array;
  readonly #offsets: Float64Array;
  /** Words of the tensors' buffer handles. */
  readonly #handles: Int32Array;
  readonly #workAt: number;
  readonly #planned: PlannedGraph;
  #bound: KernelPlace | null = null;
  #buffer = noAddress;

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

  private constructor(
    arena: TensorArena,
    pool: ThreadPool,
    { graph, operands, outputs }: Assembly,
  ) {
    this.#arena = arena;
    const nodes = listNodes(arena, graph, operands);
    const own = lifetimes(arena, nodes, outputs);
    const placement = place([...own.values()]);
    const inside = new Map([...own.keys()].map((address, i) => [address, placement.offsets[i]]));
    const work = workBytes(graph, pool.threads);
    this.#workAt = placement.bytes;
    this.workspaceBytes = placement.bytes + aligned(work);
    this.#planned = new PlannedGraph(graph, pool, null);
    const names = [...operands.keys()];
    const placed = new Map<bigint, readonly [source: number, offset: number]>();
    names.forEach((name, i) => {
      placed.set((operands.get(name) as Tensor).address, [i, 0]);
    });
    for (const { address, viewOf, viewOffset } of nodes) {
      const output = outputs.get(address);
      const offset = inside.get(address);
      const base = placed.get(viewOf);
      if (output !== undefined) placed.set(address, [names.indexOf(output), 0]);
      else if (offset !== undefined) placed.set(address, [workspaceSource, offset]);
      else if (base !== undefined) placed.set(address, [base[0], base[1] + Number(viewOffset)]);
      else throw new InvariantError("a view of a tensor without memory");
    }
    const word = (field: number) =>
      Int32Array.from(placed.keys(), (address) => arena.wordNumber(address, field));
    this.#words = word(tensorStruct.data);
    this.#handles = word(tensorStruct.buffer);
    this.#sources = Int16Array.from(placed.values(), ([source]) => source);
    this.#offsets = Float64Array.from(placed.values(), ([, offset]) => offset);
  }

  /** Computes with its operands and its workspace at `place`; blocks. Throws GGML_FAILED. */
  run(place: KernelPlace): void {
    if (place !== this.#bound) this.#bind(place);
    this.#planned.compute();
  }

  #bind(place: KernelPlace): void {
    const arena = this.#arena;
    const { operands, workspace, buffer } = place;
    for (let i = 0; i < this.#words.length; i++) {
      const source = this.#sources[i] as number;
      const base = source === workspaceSource ? workspace : (operands[source] as number);
      arena.setPointer(this.#words[i] as number, base + (this.#offsets[i] as number));
    }
    if (buffer !== this.#buffer)
      for (const handle of this.#handles) arena.setPointer(handle, Number(buffer));
    this.#planned.moveWork(workspace + this.#workAt);
    this.#buffer = buffer;
    this.#bound = place;
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

/** What a graph computes. A parameter is a node of the graph too, but an operand here, with memory of its own. */
function listNodes(
  arena: TensorArena,
  graph: Graph,
  operands: ReadonlyMap<string, Tensor>,
): readonly Node[] {
  const { base } = arena.library;
  const known = new Set([...operands.values()].map(({ address }) => address));
  return Array.from(
    { length: graph.nodes },
    (_, i) => base.ggml_graph_node(graph.address, i) as bigint,
  )
    .filter((address) => !known.has(address))
    .map((address) => ({
      address,
      viewOf: arena.wordAt(address, tensorStruct.viewSrc),
      viewOffset: arena.wordAt(address, tensorStruct.viewOffs),
      bytes: base.ggml_nbytes(address),
    }));
}

/** Intermediates: from the operator that makes one to the last that reads it or a view of it. */
function lifetimes(
  arena: TensorArena,
  nodes: readonly Node[],
  outputs: ReadonlyMap<bigint, string>,
): Map<bigint, Interval> {
  const own = new Map<bigint, Interval>();
  const root = new Map<bigint, bigint>();
  nodes.forEach((node, i) => {
    root.set(node.address, node.viewOf === noAddress ? node.address : node.viewOf);
    const mine = root.get(node.address) as bigint;
    if (node.viewOf === noAddress && !outputs.has(node.address))
      own.set(node.address, { bytes: node.bytes, from: i, to: i });
    const touched = [mine];
    for (let s = 0; s < 10; s++) {
      const source = arena.wordAt(node.address, tensorStruct.src + 8 * s);
      if (source !== noAddress) touched.push(root.get(source) ?? source);
    }
    for (const address of touched) {
      const interval = own.get(address);
      if (interval !== undefined) own.set(address, { ...interval, to: i });
    }
  });
  return own;
}
