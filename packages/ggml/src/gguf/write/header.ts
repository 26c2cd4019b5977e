/** The header of a GGUF file (version 3, little-endian) as bytes. */
import { InvariantError } from "@millrace/core";
import { arrayTypeId, type ValueType, valueTypes } from "../metadata.ts";
import { type TensorType, tensorBytes, tensorTypes } from "../tensor-types.ts";

/** A metadata value with its type in the file. */
export type MetadataValue =
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: Exclude<ValueType, "string" | "bool">; readonly value: number }
  | { readonly type: "string[]"; readonly value: readonly string[] }
  | { readonly type: "i32[]" | "f32[]" | "u32[]"; readonly value: ArrayLike<number> };

/** Metadata in the order of the file. */
export type MetadataValues = Readonly<Record<string, MetadataValue>>;

/** A tensor to be written: its elements come fastest dimension first. */
export interface TensorPlan {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
}

/** Where everything lies in a file to be written. */
export interface Layout {
  /** Header with padding up to the first tensor. */
  readonly header: Uint8Array;
  /** Offset of each tensor in the file, in the order given; each a multiple of the alignment. */
  readonly offsets: readonly number[];
  readonly fileBytes: number;
}

export const defaultAlignment = 32;

/** Rounds up to the alignment of tensor data. */
export function align(bytes: number): number {
  return Math.ceil(bytes / defaultAlignment) * defaultAlignment;
}

/** The bytes of a plan's tensor. */
export function planBytes(plan: TensorPlan): number {
  const elements = plan.shape.reduce((product, size) => product * size, 1);
  return tensorBytes(plan.type, elements);
}

/** Lays out a file. Throws InvariantError for names, shapes and values that no file can hold. */
export function layOut(metadata: MetadataValues, tensors: readonly TensorPlan[]): Layout {
  const out = new Bytes();
  out.text("GGUF");
  out.u32(3);
  out.u64(tensors.length);
  out.u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    out.string(key);
    writeValue(out, value);
  }
  const starts: number[] = [];
  let next = 0;
  for (const tensor of tensors) {
    check(tensor);
    out.string(tensor.name);
    out.u32(tensor.shape.length);
    for (const size of tensor.shape) out.u64(size);
    out.u32(tensorTypes[tensor.type].id);
    out.u64(next);
    starts.push(next);
    next += align(planBytes(tensor));
  }
  const base = align(out.length);
  out.zeros(base - out.length);
  return {
    header: out.finish(),
    offsets: starts.map((start) => start + base),
    fileBytes: base + next,
  };
}

function check(tensor: TensorPlan): void {
  const { block } = tensorTypes[tensor.type];
  const { name, shape } = tensor;
  const row = shape[0] ?? 0;
  if (shape.length < 1 || shape.length > 4 || shape.some((size) => !(size >= 1)))
    throw new InvariantError(`tensor ${name} has shape [${shape.join(", ")}]`);
  if (row % block !== 0)
    throw new InvariantError(`rows of ${row} values of ${name} are no whole blocks of ${block}`);
  if (Buffer.byteLength(name) > 63) throw new InvariantError(`tensor name ${name} is too long`);
}

function writeValue(out: Bytes, { type, value }: MetadataValue): void {
  switch (type) {
    case "string[]":
      out.array("string", value.length);
      for (const text of value) out.string(text);
      return;
    case "i32[]":
    case "u32[]":
    case "f32[]": {
      const element = type.slice(0, -2) as "i32" | "u32" | "f32";
      out.array(element, value.length);
      for (let i = 0; i < value.length; i++) out.scalar(element, value[i] ?? 0);
      return;
    }
    case "string":
      out.u32(valueTypes.string.id);
      out.string(value);
      return;
    case "bool":
      out.u32(valueTypes.bool.id);
      out.scalar("u8", value ? 1 : 0);
      return;
    default:
      out.u32(valueTypes[type].id);
      out.scalar(type, value);
  }
}

/** A growing run of bytes. */
class Bytes {
  length = 0;
  private buffer = Buffer.alloc(1 << 16);

  text(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.room(bytes);
    this.length += this.buffer.write(text, this.length, "utf8");
  }

  string(text: string): void {
    this.u64(Buffer.byteLength(text));
    this.text(text);
  }

  array(element: ValueType, length: number): void {
    this.u32(arrayTypeId);
    this.u32(valueTypes[element].id);
    this.u64(length);
  }

  u32(value: number): void {
    this.room(4);
    this.length = this.buffer.writeUInt32LE(value, this.length);
  }

  u64(value: number): void {
    this.room(8);
    this.length = this.buffer.writeBigUInt64LE(BigInt(value), this.length);
  }

  scalar(type: Exclude<ValueType, "string" | "bool">, value: number): void {
    this.room(8);
    const { buffer, length } = this;
    const end = {
      u8: () => buffer.writeUInt8(value, length),
      i8: () => buffer.writeInt8(value, length),
      u16: () => buffer.writeUInt16LE(value, length),
      i16: () => buffer.writeInt16LE(value, length),
      u32: () => buffer.writeUInt32LE(value, length),
      i32: () => buffer.writeInt32LE(value, length),
      f32: () => buffer.writeFloatLE(value, length),
      u64: () => buffer.writeBigUInt64LE(BigInt(value), length),
      i64: () => buffer.writeBigInt64LE(BigInt(value), length),
      f64: () => buffer.writeDoubleLE(value, length),
    }[type]();
    this.length = end;
  }

  zeros(bytes: number): void {
    this.room(bytes);
    this.buffer.fill(0, this.length, this.length + bytes);
    this.length += bytes;
  }

  finish(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  private room(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    const grown = Buffer.alloc(Math.max(this.buffer.length * 2, this.length + bytes));
    this.buffer.copy(grown, 0, 0, this.length);
    this.buffer = grown;
  }
}
