/**
 * The tensors of a model file where the graph can use them: on the CPU they are the file's own mapped pages, except those
 * whose kernels run faster on another layout (4-bit formats: repacked once into memory of their own); other devices get
 * copies.
 */
import {
  type BufferType,
  type Device,
  type Ggml,
  mulMat,
  newTensor,
  pointAt,
  type Tensor,
  TensorArena,
  TensorBuffer,
  type TensorType,
  writeTensorFrom,
} from "@millrace/ggml";
import type { Gguf, GgufTensor } from "@millrace/ggml/gguf";
import { unsupported } from "./unsupported.ts";

/** How a tensor is used: only matrices of products may be repacked. */
export type WeightUse = "matrix" | "vector" | "rows";

export class Weights implements Disposable {
  readonly #ggml: Ggml;
  readonly #gguf: Gguf;
  readonly #device: Device;
  readonly #arena: TensorArena;
  readonly #mapped: (TensorBuffer | null)[];
  readonly #buffers: TensorBuffer[] = [];
  readonly #used = new Set<string>();
  readonly #layouts: readonly BufferType[];
  #copiedBytes = 0;

  /** `repack`: whether matrices may be kept in a faster layout, at the cost of memory of their own. */
  constructor(ggml: Ggml, device: Device, gguf: Gguf, repack: boolean) {
    this.#ggml = ggml;
    this.#gguf = gguf;
    this.#device = device;
    // A tied embedding is a tensor of its own when the output head is repacked.
    this.#arena = new TensorArena(ggml.library, { tensors: gguf.tensors.length + 2 });
    this.#mapped = gguf.files.map(() => null);
    this.#layouts = repack ? device.extraBufferTypes() : [];
  }

  /** Bytes copied out of the file, for repacked tensors and other devices. */
  get copiedBytes(): number {
    return this.#copiedBytes;
  }

  has(name: string): boolean {
    return this.#gguf.tensor(name) !== undefined;
  }

  /** The tensor of that name, which must have the extents `ne`. Throws MODEL_UNSUPPORTED otherwise. */
  take(name: string, ne: readonly number[], use: WeightUse): Tensor {
    const record = this.#gguf.tensor(name);
    const architecture = this.#gguf.metadata.string("general.architecture");
    if (record === undefined) unsupported(architecture, `it has no tensor ${name}`);
    const wanted = [...ne, 1, 1, 1].slice(0, 4);
    if ([...record.shape, 1, 1, 1].slice(0, 4).join() !== wanted.join())
      unsupported(
        architecture,
        `${name} has the shape [${record.shape.join(", ")}] where [${ne.join(", ")}] is needed`,
      );
    if (use === "vector" && record.type !== "f32")
      unsupported(architecture, `${name} is stored as ${record.type}, not as f32`);
    this.#used.add(name);
    const tensor = newTensor(this.#arena, record.type as TensorType, wanted);
    this.#place(tensor, record, use);
    return tensor;
  }

  /** The tensor, or null when the file has none of that name. */
  maybe(name: string, ne: readonly number[], use: WeightUse): Tensor | null {
    return this.has(name) ? this.take(name, ne, use) : null;
  }

  /** Throws MODEL_UNSUPPORTED when the file has tensors that nobody took: the model does something the graph does not. */
  checkAllUsed(): void {
    for (const { name } of this.#gguf.tensors)
      if (!this.#used.has(name) && !/rotary_emb\.inv_freq|attn_rot_embd/.test(name))
        unsupported(
          this.#gguf.metadata.string("general.architecture"),
          `nothing in its graph uses the tensor ${name}`,
        );
  }

  #place(tensor: Tensor, record: GgufTensor, use: WeightUse): void {
    const address = this.#gguf.address(record);
    const faster =
      use === "matrix"
        ? this.#layouts.find((layout) => this.#computesIn(layout, record))
        : undefined;
    const onCpu = this.#device.address === this.#ggml.cpu.address;
    if (faster === undefined && onCpu && address % 32n === 0n) {
      const file = this.#file(record.part);
      file.place(tensor, Number(address - file.base));
    } else this.#copy(tensor, record, faster ?? this.#device.bufferType);
  }

  #file(part: number): TensorBuffer {
    let buffer = this.#mapped[part] ?? null;
    if (buffer === null) {
      const file = this.#gguf.files[part];
      if (file === undefined) throw new RangeError(`no part ${part}`);
      buffer = TensorBuffer.over(this.#ggml.library, file.address, file.bytes, file);
      buffer.markWeights();
      this.#mapped[part] = buffer;
    }
    return buffer;
  }

  #copy(tensor: Tensor, record: GgufTensor, type: BufferType): void {
    const buffer = type.allocate(type.bytesFor(tensor));
    this.#buffers.push(buffer);
    buffer.markWeights();
    buffer.place(tensor, 0);
    writeTensorFrom(tensor, this.#gguf.address(record), record.bytes);
    this.#copiedBytes += buffer.bytes;
  }

  /** Whether products with the tensor can be computed in that layout. */
  #computesIn(layout: BufferType, record: GgufTensor): boolean {
    using trial = new TensorArena(this.#ggml.library, { tensors: 3 });
    using buffer = layout.allocate(256);
    const [columns = 1, rows = 1] = record.shape;
    const matrix = newTensor(trial, record.type as TensorType, [columns, rows]);
    pointAt(matrix, 0n, buffer.address);
    return this.#device.supports(mulMat(trial, matrix, newTensor(trial, "f32", [columns, 512])));
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
    for (const buffer of this.#buffers) buffer[Symbol.dispose]();
    for (const buffer of this.#mapped) buffer?.[Symbol.dispose]();
  }
}
