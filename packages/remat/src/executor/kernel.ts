/**
 * One operator as native code: small ggml graphs whose operands, results, intermediates and work area all get addresses
 * from outside. Built once for all places of a plan that compute alike; running it is a call for each graph.
 */
import { InvariantError } from "@millrace/core";
import {
  type NativeLibrary,
  PlannedGraph,
  type Tensor,
  TensorArena,
  type TensorType,
  type ThreadPool,
  tensorStruct,
  workBytes,
} from "@millrace/ggml";
import { aligned, place } from "../placement/place.ts";
import {
  type Assembly,
  assemble,
  type KernelBuild,
  lifetimes,
  listNodes,
  noAddress,
} from "./kernel-graph.ts";

export type { KernelBuild, KernelBuilder } from "./kernel-graph.ts";

/** Type and extents (fastest first) of an operand. */
export interface OperandShape {
  readonly type: TensorType;
  readonly ne: readonly number[];
}

/** Tensors and graphs that the scratch arena is made for at first, and tensors at most. */
const scratchSize = { tensors: 256, graphs: 8, most: 32768 } as const;

/** Where kernels are tried: one arena for all, since the memory of many would stay until the heap is next collected. */
let scratch: TensorArena | null = null;

/** Gives the memory in which kernels are tried back; the next one makes it anew. */
export function forgetScratch(): void {
  scratch?.[Symbol.dispose]();
  scratch = null;
}

/** Tensors and graphs that a kernel is made of. Many kernels live as long as the plan: none may keep more than it uses. */
function sizeOf(
  library: NativeLibrary,
  shapes: ReadonlyMap<string, OperandShape>,
  build: KernelBuild,
): { readonly tensors: number; readonly graphs: number } {
  const { tensors, graphs, most } = scratchSize;
  for (;;) {
    scratch ??= new TensorArena(library, { tensors, graphCapacity: tensors, graphs });
    try {
      scratch.reset();
      const { parts } = assemble(scratch, shapes, build);
      return { tensors: scratch.used + scratch.foreign, graphs: parts.length };
    } catch (error) {
      const full = error instanceof Error && /arena is full|exceed the graph/.test(error.message);
      if (!full || scratch.capacity >= most) throw error;
      const larger = 4 * scratch.capacity;
      scratch[Symbol.dispose]();
      scratch = new TensorArena(library, { tensors: larger, graphCapacity: larger, graphs });
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

/** A place among the operands. */
const workspaceSource = -1;

/** A graph of a kernel, and how its tensors move when it runs more than once. */
interface Stretch {
  readonly planned: PlannedGraph;
  readonly times: number;
  /** Numbers of the tensors that move, and bytes each moves by from one time to the next. */
  readonly moving: Int32Array;
  readonly steps: Float64Array;
}

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
  readonly #stretches: readonly Stretch[];
  #bound: KernelPlace | null = null;
  #buffer = noAddress;

  /** Throws GGML_SHAPE when the operands do not fit the operators. */
  static build(
    library: NativeLibrary,
    pool: ThreadPool,
    shapes: ReadonlyMap<string, OperandShape>,
    build: KernelBuild,
  ): Kernel {
    const { tensors, graphs } = sizeOf(library, shapes, build);
    const arena = new TensorArena(library, { tensors, graphCapacity: tensors, graphs });
    try {
      return new Kernel(arena, pool, assemble(arena, shapes, build));
    } catch (error) {
      arena[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(arena: TensorArena, pool: ThreadPool, assembly: Assembly) {
    this.#arena = arena;
    const { parts, operands, outputs, held } = assembly;
    const nodes = listNodes(arena, assembly);
    const own = lifetimes(arena, nodes, assembly);
    const placement = place([...own.values()]);
    const inside = new Map([...own.keys()].map((address, i) => [address, placement.offsets[i]]));
    const work = Math.max(0, ...parts.map(({ graph }) => workBytes(graph, pool.threads)));
    this.#workAt = placement.bytes;
    this.workspaceBytes = placement.bytes + aligned(work);
    const names = [...operands.keys()];
    const placed = new Map<bigint, readonly [source: number, offset: number]>();
    names.forEach((name, i) => {
      placed.set((operands.get(name) as Tensor).address, [i, 0]);
    });
    for (const { address, viewOf, viewOffset } of nodes) {
      const output = outputs.get(address);
      const offset = inside.get(address);
      const base = placed.get(viewOf);
      const at: readonly [number, number] | null =
        output !== undefined
          ? [names.indexOf(output), 0]
          : offset !== undefined
            ? [workspaceSource, offset]
            : base !== undefined
              ? [base[0], base[1] + Number(viewOffset)]
              : null;
      if (at === null) throw new InvariantError("a view of a tensor without memory");
      placed.set(address, at);
      const memory = held.get(address);
      if (memory !== undefined) placed.set(memory, at);
    }
    const word = (field: number) =>
      Int32Array.from(placed.keys(), (address) => arena.wordNumber(address, field));
    this.#words = word(tensorStruct.data);
    this.#handles = word(tensorStruct.buffer);
    this.#sources = Int16Array.from(placed.values(), ([source]) => source);
    this.#offsets = Float64Array.from(placed.values(), ([, offset]) => offset);
    const numbers = new Map([...placed.keys()].map((address, i) => [address, i]));
    const addresses = [...operands.values()].map(({ address }) => address);
    this.#stretches = parts.map(({ graph, times, steps }, part): Stretch => {
      const moves = new Map<number, number>();
      for (const node of nodes) {
        if (node.part !== part) continue;
        const source = addresses[placed.get(node.address)?.[0] ?? workspaceSource];
        const step = source === undefined ? undefined : steps.get(source);
        if (step !== undefined) moves.set(numbers.get(node.address) as number, step);
      }
      return {
        planned: new PlannedGraph(graph, pool, null),
        times,
        moving: Int32Array.from(moves.keys()),
        steps: Float64Array.from(moves.values()),
      };
    });
  }

  /** Computes with its operands and its workspace at `place`; blocks. Throws GGML_FAILED. */
  run(place: KernelPlace): void {
    if (place !== this.#bound) this.#bind(place);
    for (const stretch of this.#stretches) {
      stretch.planned.compute();
      for (let time = 1; time < stretch.times; time++) {
        this.#move(place, stretch, time);
        stretch.planned.compute();
      }
      if (stretch.times > 1) this.#move(place, stretch, 0);
    }
  }

  #base({ operands, workspace }: KernelPlace, tensor: number): number {
    const source = this.#sources[tensor] as number;
    const base = source === workspaceSource ? workspace : (operands[source] as number);
    return base + (this.#offsets[tensor] as number);
  }

  #bind(place: KernelPlace): void {
    const arena = this.#arena;
    const { workspace, buffer } = place;
    for (let i = 0; i < this.#words.length; i++)
      arena.setPointer(this.#words[i] as number, this.#base(place, i));
    if (buffer !== this.#buffer)
      for (const handle of this.#handles) arena.setPointer(handle, Number(buffer));
    for (const { planned } of this.#stretches) planned.moveWork(workspace + this.#workAt);
    this.#buffer = buffer;
    this.#bound = place;
  }

  /** Puts what moves where it is at the given time. */
  #move(place: KernelPlace, { moving, steps }: Stretch, time: number): void {
    for (let i = 0; i < moving.length; i++) {
      const tensor = moving[i] as number;
      const at = this.#base(place, tensor) + time * (steps[i] as number);
      this.#arena.setPointer(this.#words[tensor] as number, at);
    }
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}
