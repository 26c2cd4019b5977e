/** Memory that ggml knows: allocated by a device, or host memory of our own lent to it. */
import { InvariantError } from "@millrace/core";
import { addressOf, badOperands, nativeFailure } from "../fail.ts";
import type { HostMemory } from "../host-memory.ts";
import { closed, opened } from "../live-handles.ts";
import type { NativeLibrary } from "../native/library.ts";
import { captureLog } from "../native/log.ts";
import type { Tensor } from "../tensor.ts";
import { tensorStruct } from "../tensor-struct.ts";

const weightsUsage = 1;

export class TensorBuffer implements Disposable {
  readonly address: bigint;
  readonly base: bigint;
  readonly bytes: number;
  readonly #library: NativeLibrary;
  readonly #alignment: bigint;
  /** Kept so that lent memory lives as long as the buffer. */
  readonly owner: unknown;
  #disposed = false;

  private constructor(library: NativeLibrary, address: bigint, owner: unknown) {
    this.#library = library;
    this.address = address;
    this.owner = owner;
    const { base } = library;
    this.base = base.ggml_backend_buffer_get_base(address) ?? 0n;
    this.bytes = base.ggml_backend_buffer_get_size(address);
    this.#alignment = BigInt(
      base.ggml_backend_buft_get_alignment(base.ggml_backend_buffer_get_type(address)),
    );
    opened("buffer");
  }

  /** A buffer made by a native function; GGML_FAILED when that gave NULL. */
  static adopt(library: NativeLibrary, address: bigint | null, what: string): TensorBuffer {
    return new TensorBuffer(library, addressOf(address, what), null);
  }

  /**
   * Lends the CPU device `bytes` at `address` (32-byte aligned): mapped files, reserved regions. Nothing is touched or copied.
   * `owner` is kept alive; the memory must outlast the buffer.
   */
  static over(
    library: NativeLibrary,
    address: bigint,
    bytes: number,
    owner: unknown,
  ): TensorBuffer {
    if (address === 0n || address % 32n !== 0n)
      badOperands("buffer", `address ${address} is not a multiple of 32`);
    if (!Number.isSafeInteger(bytes) || bytes < 1) badOperands("buffer", `${bytes} bytes`);
    const buffer = library.base.ggml_backend_cpu_buffer_from_ptr(address, bytes);
    return new TensorBuffer(library, addressOf(buffer, "lending memory"), owner);
  }

  /** Lends host memory to the CPU device. */
  static overHost(library: NativeLibrary, memory: HostMemory): TensorBuffer {
    return TensorBuffer.over(library, memory.address, memory.bytes, memory);
  }

  /** Tells ggml that the buffer holds weights: operations run where they lie. */
  markWeights(): void {
    this.#library.base.ggml_backend_buffer_set_usage(this.address, weightsUsage);
  }

  /** Bytes a tensor takes in this buffer (more than its own where the device pads or repacks). */
  bytesFor(tensor: Tensor): number {
    const { base } = this.#library;
    return base.ggml_backend_buft_get_alloc_size(
      base.ggml_backend_buffer_get_type(this.address),
      tensor.address,
    );
  }

  /** Gives a tensor without data the place `offset` bytes into the buffer. */
  place(tensor: Tensor, offset: number): void {
    const at = this.base + BigInt(offset);
    if (at % this.#alignment !== 0n)
      badOperands("place", `${tensor} at byte ${offset} is not on a border of ${this.#alignment}`);
    if (!(offset >= 0 && offset + this.bytesFor(tensor) <= this.bytes))
      badOperands("place", `${tensor} at byte ${offset} passes the end of ${this.bytes} bytes`);
    const { arena } = tensor;
    if (
      arena.field(tensor, tensorStruct.buffer) !== 0n ||
      arena.field(tensor, tensorStruct.data) !== 0n ||
      arena.field(tensor, tensorStruct.viewSrc) !== 0n
    )
      badOperands("place", `${tensor} has its data already`);
    const status = captureLog(() =>
      this.#library.base.ggml_backend_tensor_alloc(this.address, tensor.address, at),
    );
    if (status !== 0) nativeFailure(`placing ${tensor} failed`);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#library.base.ggml_backend_buffer_free(this.address);
    closed("buffer");
  }
}

function checkRange(op: string, tensor: Tensor, offset: number, bytes: number): void {
  if (!(offset >= 0 && bytes >= 0 && offset + bytes <= tensor.bytes))
    badOperands(op, `${bytes} bytes at ${offset} pass the end of ${tensor}`);
  const { arena } = tensor;
  if (arena.busy) throw new InvariantError(`${op} while the arena's graph is computed`);
  if (tensor.generation !== arena.generation) badOperands(op, `${tensor} is of an earlier build`);
  if (arena.field(tensor, tensorStruct.data) === 0n) badOperands(op, `${tensor} has no data yet`);
}

/** Copies bytes into a tensor, `offset` bytes from its start; converts to the layout of repacking buffers (whole tensors). */
export function writeTensor(tensor: Tensor, from: ArrayBufferView, offset = 0): void {
  checkRange("write", tensor, offset, from.byteLength);
  const { base } = tensor.arena.library;
  base.ggml_backend_tensor_set(tensor.address, from, offset, from.byteLength);
}

/** Like `writeTensor`, from native memory. */
export function writeTensorFrom(tensor: Tensor, address: bigint, bytes: number, offset = 0): void {
  checkRange("write", tensor, offset, bytes);
  tensor.arena.library.base.ggml_backend_tensor_set(tensor.address, address, offset, bytes);
}

/** Copies bytes out of a tensor, `offset` bytes from its start. */
export function readTensor(tensor: Tensor, into: ArrayBufferView, offset = 0): void {
  checkRange("read", tensor, offset, into.byteLength);
  const { base } = tensor.arena.library;
  base.ggml_backend_tensor_get(tensor.address, into, offset, into.byteLength);
}

/** All elements of an f32 tensor that has no gaps. */
export function readF32(tensor: Tensor): Float32Array {
  if (tensor.type !== "f32" || !tensor.contiguous)
    badOperands("read", `${tensor} is not contiguous f32`);
  const out = new Float32Array(tensor.elements);
  readTensor(tensor, out);
  return out;
}
