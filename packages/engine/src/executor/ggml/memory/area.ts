/**
 * Memory that JavaScript fills or reads and the device computes on: inputs, masks, logits. On the CPU both are one; other
 * devices have their copy, moved by `upload` and `download`. It grows and never shrinks; growing gives it a new address.
 */
import {
  type Device,
  HostMemory,
  newTensor,
  pointAt,
  readTensor,
  type Tensor,
  TensorArena,
  TensorBuffer,
  writeTensor,
} from "@millrace/ggml";

export class Area implements Disposable {
  readonly #device: Device;
  readonly #isHost: boolean;
  #host: HostMemory;
  #buffer: TensorBuffer;
  #arena: TensorArena | null = null;
  #copy: Tensor | null = null;
  /** Rises when the area moved: graphs that point into it are stale. */
  moves = 0;

  constructor(device: Device, bytes: number) {
    this.#device = device;
    this.#isHost = device.bufferType.isHost;
    this.#host = new HostMemory(bytes);
    this.#buffer = this.#lend();
  }

  get bytes(): number {
    return this.#host.bytes;
  }

  /** The part that JavaScript sees; replaced when the area grows. */
  get host(): HostMemory {
    return this.#host;
  }

  /** Makes it at least `bytes` long; what it held is lost when it grows. True when it grew. */
  ensure(bytes: number): boolean {
    if (bytes <= this.#host.bytes) return false;
    this.#release();
    this.#host = new HostMemory(Math.ceil(bytes * 1.5));
    this.#buffer = this.#lend();
    this.moves += 1;
    return true;
  }

  /** Makes a tensor lie `offset` bytes into the area. */
  point(tensor: Tensor, offset = 0): Tensor {
    pointAt(tensor, this.#buffer.base + BigInt(offset), this.#buffer.address);
    return tensor;
  }

  /** Address of the device's part and of its buffer. */
  get address(): bigint {
    return this.#buffer.base;
  }
  get buffer(): bigint {
    return this.#buffer.address;
  }

  /** Sends the first `bytes` to the device; nothing to do where memory is shared. */
  upload(bytes: number): void {
    if (this.#copy !== null && bytes > 0) writeTensor(this.#copy, this.#host.u8(0, bytes));
  }

  /** Fetches the first `bytes` from the device. */
  download(bytes: number): void {
    if (this.#copy !== null && bytes > 0) readTensor(this.#copy, this.#host.u8(0, bytes));
  }

  #lend(): TensorBuffer {
    const { library } = this.#device;
    if (this.#isHost) return TensorBuffer.overHost(library, this.#host);
    const buffer = this.#device.bufferType.allocate(this.#host.bytes);
    this.#arena = new TensorArena(library, { tensors: 1 });
    this.#copy = newTensor(this.#arena, "i8", [this.#host.bytes]);
    buffer.place(this.#copy, 0);
    return buffer;
  }

  #release(): void {
    this.#buffer[Symbol.dispose]();
    this.#arena?.[Symbol.dispose]();
    this.#arena = null;
    this.#copy = null;
  }

  [Symbol.dispose](): void {
    this.#release();
  }
}
