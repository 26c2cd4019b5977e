/**
 * The SIMD kernels and the one memory they work in. Owns addresses; promises nothing about what lies there. The memory is
 * shared, so that another thread can use its own instance on the same matrices.
 */
import { invariant, MillraceError, type WasmMemory, wasm } from "@millrace/core";
import { adviseHuge } from "@millrace/system";
import { kernelBytes } from "./bytes.ts";

/** The functions of kernels.wat; every address and stride is in bytes, every count in elements. */
export interface Kernels {
  gemm(
    m: number,
    n: number,
    k: number,
    a: number,
    sm: number,
    sk: number,
    b: number,
    ldb: number,
    c: number,
    ldc: number,
    alpha: number,
  ): void;
  gradients(s: number, count: number, bias: number, weight: number): void;
  dot(a: number, b: number, d: number): number;
  scores(z: number, d: number, w: number, ids: number, n: number, out: number): void;
  ragged(
    z: number,
    dz: number,
    d: number,
    w: number,
    ids: number,
    weights: number,
    n: number,
    positives: number,
    bias: number,
    lr: number,
  ): void;
  bag(rows: number, d: number, ids: number, values: number, n: number, out: number): void;
  adagrad(row: number, g: number, d: number, accumulator: number, lr: number): void;
  scan(
    points: number,
    m: number,
    d: number,
    packed: number,
    blocks: number,
    scales: number,
    out: number,
    ldo: number,
  ): void;
  scanOne(
    point: number,
    d: number,
    packed: number,
    blocks: number,
    scales: number,
    out: number,
  ): void;
  /** Brings `n` (at least 1) listed rows into the cache; the number means nothing. */
  touch(rows: number, bytes: number, ids: number, n: number): number;
  gather(rows: number, bytes: number, ids: number, n: number, out: number): void;
  scatter(rows: number, bytes: number, ids: number, n: number, from: number): void;
  rectify(x: number, n: number): void;
  dropout(x: number, n: number, state: number, limit: number, scale: number): void;
  passed(z: number, dz: number, n: number, scale: number): void;
  axpy(y: number, x: number, d: number, a: number): void;
  multiply(x: number, m: number, n: number): void;
  scores16(z: number, d: number, w: number, ids: number, n: number, out: number): void;
  widen(rows: number, d: number, ids: number, n: number, out: number): void;
  narrow(rows: number, d: number, ids: number, n: number, from: number, state: number): void;
  select(ids: number, kept: number, n: number, want: number, most: number, left: number): number;
  order(ids: number, kept: number, n: number): void;
  collect(
    scores: number,
    ldo: number,
    list: number,
    here: number,
    n: number,
    first: number,
    end: number,
    ids: number,
    kept: number,
    room: number,
    counts: number,
    thresholds: number,
    wants: number,
    scratch: number,
  ): void;
  codes(
    table: number,
    pairs: number,
    codes: number,
    blocks: number,
    scales: number,
    offsets: number,
    step: number,
    base: number,
    out: number,
  ): void;
  momentum(row: number, g: number, d: number, velocity: number, mu: number, lr: number): void;
}

const pageBytes = 65536;
const maxPages = 65536;
/** Memory of this size gets pages of its own, so that a file can be mapped there. */
const largeBytes = 1 << 20;
/** Memory of this size asks for huge pages. */
const hugeBytes = 16 << 20;
/** A multiple of the page size of every system this runs on. */
const systemPage = 65536;
let compiled: object | undefined;

/** Addresses that a heap in another thread may hand out; they are within the memory already. */
export interface HeapPart {
  readonly memory: WasmMemory;
  readonly from: number;
  readonly to: number;
}

/** A growing memory with a bump allocator. Views stay valid when it grows. */
export class Heap {
  readonly memory: WasmMemory;
  readonly kernels: Kernels;
  #top: number;
  #peak: number;
  readonly #limit: number;

  /** A memory of its own, or a part of one that another thread made: addresses from `from` to `to` are then this heap's. */
  constructor(part?: HeapPart) {
    this.memory = part?.memory ?? new wasm.Memory({ initial: 1, maximum: maxPages, shared: true });
    this.#top = part?.from ?? 64;
    this.#peak = this.#top;
    this.#limit = part?.to ?? maxPages * pageBytes;
    compiled ??= new wasm.Module(Buffer.from(kernelBytes, "base64"));
    const instance = new wasm.Instance(compiled, { env: { memory: this.memory } });
    this.kernels = instance.exports as unknown as Kernels;
  }

  /** Bytes handed out. */
  get used(): number {
    return this.#top;
  }

  /** The most bytes that were ever handed out. */
  get peak(): number {
    return this.#peak;
  }

  /**
   * `bytes` of memory on a 64-byte border, large ones in pages of their own; zeroed unless it was released before. Throws
   * DATASET_INVALID beyond 4 GB.
   */
  take(bytes: number): number {
    const border = bytes < largeBytes ? 64 : systemPage;
    const at = Math.ceil(this.#top / border) * border;
    const end = at + Math.ceil(bytes / border) * border;
    if (end > this.#limit)
      throw new MillraceError(
        "DATASET_INVALID",
        `the matrices need ${Math.ceil(end / 1e6)} MB, and 4295 MB can be addressed`,
        {
          hint: "lower the dimension or the number of labels, or shard the labels: a label's vector takes 4 bytes a dimension",
        },
      );
    const missing = Math.ceil(end / pageBytes) - this.memory.buffer.byteLength / pageBytes;
    if (missing > 0) this.memory.grow(missing);
    // Rows of a large matrix are read in no order.
    if (bytes >= hugeBytes) adviseHuge(this.u8(at, bytes));
    this.#top = end;
    this.#peak = Math.max(this.#peak, end);
    return at;
  }

  /** Gives back everything taken since `mark` was read from `used`. */
  release(mark: number): void {
    invariant(mark <= this.#top, "a mark is below the top");
    this.#top = mark;
  }

  f32(at: number, length: number): Float32Array {
    return new Float32Array(this.memory.buffer, at, length);
  }
  i32(at: number, length: number): Int32Array {
    return new Int32Array(this.memory.buffer, at, length);
  }
  u8(at: number, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, at, length);
  }
  u16(at: number, length: number): Uint16Array {
    return new Uint16Array(this.memory.buffer, at, length);
  }
  i16(at: number, length: number): Int16Array {
    return new Int16Array(this.memory.buffer, at, length);
  }
}

/** A matrix or list in the heap: its address and its view. */
export interface Block<A> {
  readonly at: number;
  readonly view: A;
}

export function floats(heap: Heap, length: number): Block<Float32Array> {
  const at = heap.take(length * 4);
  return { at, view: heap.f32(at, length) };
}

export function ints(heap: Heap, length: number): Block<Int32Array> {
  const at = heap.take(length * 4);
  return { at, view: heap.i32(at, length) };
}

export function shorts(heap: Heap, length: number): Block<Int16Array> {
  const at = heap.take(length * 2);
  return { at, view: heap.i16(at, length) };
}
