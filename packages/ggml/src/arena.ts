/**
 * A ggml context over memory of our own. `reset` forgets all tensors and reuses the memory, so that a graph is rebuilt every
 * step without allocating; handles of the earlier build are refused from then on. Tensors have no data of their own: an
 * allocator, a buffer or an address gives it to them.
 */
import { InvariantError } from "@millrace/core";
import { addressOf, badOperands } from "./fail.ts";
import { HostMemory } from "./host-memory.ts";
import { closed, opened } from "./live-handles.ts";
import type { NativeLibrary } from "./native/library.ts";
import { denseStrides, type Four, Tensor } from "./tensor.ts";
import { tensorOverhead, tensorStruct } from "./tensor-struct.ts";
import type { TensorType } from "./types.ts";

let stamps = 0;

/** Names one build of one arena, so that a foreign operand is counted once per build. */
function nextStamp(): number {
  stamps += 1;
  return stamps;
}

/** A field of a tensor of an arena. */
export type FieldPlace = number & { readonly brand: "FieldPlace" };

export class TensorArena implements Disposable {
  readonly library: NativeLibrary;
  /** Address of the native context. */
  readonly address: bigint;
  /** Most tensors of one build, views and operations included. */
  readonly capacity: number;
  /** Most nodes and leaves of a graph; 0 = no graph. */
  readonly graphCapacity: number;
  /** Most graphs of one build. */
  readonly graphsCapacity: number;
  /** Rises with every reset. */
  generation = 1;
  /** True while a computation uses the tensors; reset and disposal are then refused. */
  busy = false;
  #used = 0;
  #foreign = 0;
  #graphs = 0;
  #stamp = nextStamp();
  readonly #memory: HostMemory;
  readonly #words: BigUint64Array;
  readonly #halves: Uint32Array;
  /** Where copied tensors begin, and the bytes of them so far. */
  readonly #copies: number;
  #copied = 0;
  #disposed = false;

  /**
   * `tensors` >= 1; `graphCapacity` bounds nodes plus leaves of a graph, of which a build may hold `graphs` (1); `copies`
   * tensors more may be made by a Stencil.
   */
  constructor(
    library: NativeLibrary,
    options: {
      readonly tensors: number;
      readonly graphCapacity?: number;
      readonly graphs?: number;
      readonly copies?: number;
    },
  ) {
    this.library = library;
    this.capacity = options.tensors;
    this.graphCapacity = options.graphCapacity ?? 0;
    this.graphsCapacity = this.graphCapacity === 0 ? 0 : (options.graphs ?? 1);
    const graphBytes =
      this.graphCapacity === 0
        ? 0
        : this.graphsCapacity * library.base.ggml_graph_overhead_custom(this.graphCapacity, false);
    this.#copies = Math.ceil((this.capacity * tensorOverhead + graphBytes + 256) / 64) * 64;
    this.#memory = new HostMemory(this.#copies + (options.copies ?? 0) * tensorOverhead);
    this.#words = this.#memory.u64();
    this.#halves = new Uint32Array(
      this.#words.buffer,
      this.#words.byteOffset,
      this.#words.length * 2,
    );
    this.address = addressOf(
      library.init({
        mem_size: this.#copies,
        mem_buffer: this.#memory.address,
        no_alloc: true,
      }),
      "ggml_init",
    );
    opened("arena");
  }

  /** Tensors of this build so far. */
  get used(): number {
    return this.#used;
  }

  /** Forgets every tensor and graph of this build. */
  reset(): void {
    this.#idle("reset");
    this.library.base.ggml_reset(this.address);
    this.generation += 1;
    this.#used = 0;
    this.#foreign = 0;
    this.#graphs = 0;
    this.#copied = 0;
    this.#stamp = nextStamp();
  }

  /** Tensors of other arenas (weights) that operations of this build use; operands of copies are not counted. */
  get foreign(): number {
    return this.#foreign;
  }

  /**
   * Takes room for one tensor made from `a`, `b`, `c`; every operation calls it before ggml. Throws GGML_SHAPE when the arena
   * is full or an operand is of an earlier build.
   */
  take(op: string, a?: Tensor | null, b?: Tensor | null, c?: Tensor | null): bigint {
    if (this.busy || this.#disposed) this.#idle(op);
    if (this.#used - this.#copied / tensorOverhead >= this.capacity)
      badOperands(op, `the arena is full: ${this.capacity} tensors`);
    if (a) this.#use(op, a);
    if (b) this.#use(op, b);
    if (c) this.#use(op, c);
    this.#used += 1;
    return this.address;
  }

  #use(op: string, operand: Tensor): void {
    if (operand.generation !== operand.arena.generation)
      badOperands(op, `${operand} is of an earlier build of its arena`);
    if (operand.arena === this || operand.countedBy === this.#stamp) return;
    operand.countedBy = this.#stamp;
    this.#foreign += 1;
  }

  /** Takes the room of a graph. */
  takeGraph(): bigint {
    this.#idle("graph");
    if (this.#graphs >= this.graphsCapacity)
      badOperands("graph", `the arena has room for ${this.graphsCapacity} graphs per build`);
    this.#graphs += 1;
    return this.address;
  }

  /** Handle for a tensor that a native function just made here; strides without gaps unless given. */
  wrap(address: bigint | null, type: TensorType, ne: Four, nb?: Four): Tensor {
    return new Tensor(
      this,
      addressOf(address, "making a tensor"),
      type,
      ne,
      nb ?? denseStrides(type, ne),
    );
  }

  /** A 64-bit field of a tensor of this arena, by its offset in the struct. */
  field(tensor: Tensor, offset: number): bigint {
    return this.#words[this.#word(tensor, offset)] as bigint;
  }

  /** Writes a 64-bit field of a tensor of this arena. */
  setField(tensor: Tensor, offset: number, value: bigint): void {
    this.#words[this.#word(tensor, offset)] = value;
  }

  /** The 64-bit word `offset` bytes after an address inside this arena. */
  wordAt(address: bigint, offset: number): bigint {
    return this.#words[this.wordNumber(address, offset)] as bigint;
  }

  /** Writes the word `offset` bytes after an address inside this arena. */
  setWordAt(address: bigint, offset: number, value: bigint): void {
    this.#words[this.wordNumber(address, offset)] = value;
  }

  /** Number of the 64-bit word `offset` bytes after an address inside this arena. */
  wordNumber(address: bigint, offset: number): number {
    return (Number(address - this.#memory.address) + offset) / 8;
  }

  /** Writes an address into a word by its number; makes no bigint, so it may be called thousands of times a step. */
  setPointer(word: number, address: number): void {
    this.#halves[2 * word] = address % 2 ** 32;
    this.#halves[2 * word + 1] = Math.floor(address / 2 ** 32);
  }

  /**
   * Copies `bytes` of tensors made here, moving the pointers at `inner` (byte offsets) along, and gives the address of the
   * copy. For Stencil. Throws GGML_SHAPE when there is no room.
   */
  copyRun(first: bigint, bytes: number, inner: Int32Array): bigint {
    this.#idle("copy");
    const room = Math.ceil(bytes / tensorOverhead) * tensorOverhead;
    const at = this.#copies + this.#copied;
    if (at + room > this.#memory.bytes)
      badOperands("copy", `the arena has no room for copies of ${bytes} bytes more`);
    const from = Number(first - this.#memory.address);
    this.#words.copyWithin(at / 8, from / 8, (from + bytes) / 8);
    const distance = at - from;
    const halves = this.#halves;
    for (let i = 0; i < inner.length; i++) {
      const low = (at + (inner[i] as number)) / 4;
      const moved = (halves[low] as number) + distance;
      halves[low] = moved;
      if (moved >= 2 ** 32) halves[low + 1] = (halves[low + 1] as number) + 1;
    }
    this.#copied += room;
    this.#used += room / tensorOverhead;
    return this.#memory.address + BigInt(at);
  }

  /** Where a 64-bit field of a tensor lies, for `put`: valid until the arena is reset. */
  place(tensor: Tensor, offset: number): FieldPlace {
    return this.#word(tensor, offset) as FieldPlace;
  }

  /** Writes a field by its place, without a check: for hot paths. */
  put(place: FieldPlace, value: bigint): void {
    this.#words[place] = value;
  }

  #word(tensor: Tensor, offset: number): number {
    const at = Number(tensor.address - this.#memory.address);
    if (!(at >= 0 && at + tensorStruct.bytes <= this.#memory.bytes))
      throw new InvariantError("the tensor is not of this arena");
    return (at + offset) / 8;
  }

  #idle(action: string): void {
    if (this.#disposed) throw new InvariantError(`${action} on a disposed arena`);
    if (this.busy) throw new InvariantError(`${action} while the arena's graph is computed`);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#idle("dispose");
    this.#disposed = true;
    this.generation += 1;
    this.library.base.ggml_free(this.address);
    closed("arena");
  }
}
