/** The key-value part of a GGUF file: scalars are read at once, arrays when they are asked for. */
import type { Cursor } from "./cursor.ts";
import { Cursor as At } from "./cursor.ts";
import { invalidGguf } from "./invalid.ts";

/** Value types by their ids in the file; arrays (id 9) hold any of the others. */
export const valueTypes = {
  u8: { id: 0, bytes: 1 },
  i8: { id: 1, bytes: 1 },
  u16: { id: 2, bytes: 2 },
  i16: { id: 3, bytes: 2 },
  u32: { id: 4, bytes: 4 },
  i32: { id: 5, bytes: 4 },
  f32: { id: 6, bytes: 4 },
  bool: { id: 7, bytes: 1 },
  string: { id: 8, bytes: 8 },
  u64: { id: 10, bytes: 8 },
  i64: { id: 11, bytes: 8 },
  f64: { id: 12, bytes: 8 },
} as const satisfies Readonly<Record<string, { readonly id: number; readonly bytes: number }>>;

export type ValueType = keyof typeof valueTypes;

/** Id of arrays. */
export const arrayTypeId = 9;

/** A scalar of a file. 64-bit integers beyond 2^53 lose their last digits. */
export type Scalar = string | number | boolean;

type Entry =
  | {
      readonly kind: "scalar";
      readonly type: ValueType;
      readonly value: Scalar;
      readonly at: number;
    }
  | {
      readonly kind: "array";
      readonly type: ValueType;
      readonly length: number;
      readonly first: number;
      readonly at: number;
    };

const typeById = new Map<number, ValueType>(
  Object.entries(valueTypes).map(([name, { id }]) => [id, name as ValueType]),
);

/** Metadata of a file. Accessors with a fallback return it for absent keys; without one they throw GGUF_INVALID. */
export class Metadata {
  private readonly entries = new Map<string, Entry>();
  private readonly path: string;
  private readonly data: DataView;

  /** Reads `count` pairs; throws GGUF_INVALID. */
  constructor(cursor: Cursor, count: number) {
    this.path = cursor.path;
    this.data = cursor.data;
    for (let i = 0; i < count; i++) {
      const at = cursor.offset;
      const key = cursor.string(`key ${i}`);
      if (key === "") throw invalidGguf(this.path, at, `key ${i} is empty`);
      if (this.entries.has(key)) throw invalidGguf(this.path, at, `key ${key} stands there twice`);
      this.entries.set(key, readEntry(cursor, key, at));
    }
  }

  get keys(): readonly string[] {
    return [...this.entries.keys()];
  }

  has(key: string): boolean {
    return this.entries.has(key);
  }

  /** `u32`, `string[151936]` and the like; undefined for absent keys. */
  describe(key: string): string | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    return entry.kind === "scalar" ? entry.type : `${entry.type}[${entry.length}]`;
  }

  /** The scalar of a key, or undefined for arrays and absent keys. */
  scalar(key: string): Scalar | undefined {
    const entry = this.entries.get(key);
    return entry?.kind === "scalar" ? entry.value : undefined;
  }

  string(key: string, fallback?: string): string;
  string(key: string, fallback: null): string | null;
  string(key: string, fallback?: string | null): string | null {
    const value = this.value(key, "string", fallback);
    if (value !== null && typeof value !== "string") throw this.wrongType(key, "a string");
    return value;
  }

  number(key: string, fallback?: number): number;
  number(key: string, fallback: null): number | null;
  number(key: string, fallback?: number | null): number | null {
    const value = this.value(key, "number", fallback);
    if (value !== null && typeof value !== "number") throw this.wrongType(key, "a number");
    return value;
  }

  boolean(key: string, fallback?: boolean): boolean;
  boolean(key: string, fallback: null): boolean | null;
  boolean(key: string, fallback?: boolean | null): boolean | null {
    const value = this.value(key, "boolean", fallback);
    if (value !== null && typeof value !== "boolean") throw this.wrongType(key, "a boolean");
    return value;
  }

  /** Elements of an array; null for absent keys. */
  length(key: string): number | null {
    const entry = this.entries.get(key);
    if (entry === undefined) return null;
    if (entry.kind !== "array") throw this.wrongType(key, "an array");
    return entry.length;
  }

  /** An array of strings, decoded now (20 ms for 150,000); null for absent keys. */
  strings(key: string): string[] | null {
    const entry = this.array(key);
    if (entry === null) return null;
    if (entry.type !== "string") throw this.wrongType(key, "an array of strings");
    const cursor = new At(this.path, this.data);
    cursor.offset = entry.first;
    return Array.from({ length: entry.length }, () => cursor.looseString(key));
  }

  /** An array of numbers (or booleans as 0 and 1); null for absent keys. */
  numbers(key: string): Float64Array | null {
    const entry = this.array(key);
    if (entry === null) return null;
    if (entry.type === "string") throw this.wrongType(key, "an array of numbers");
    const values = new Float64Array(entry.length);
    const { bytes } = valueTypes[entry.type];
    for (let i = 0; i < values.length; i++)
      values[i] = Number(readScalar(this.data, entry.type, entry.first + i * bytes));
    return values;
  }

  private array(key: string): Extract<Entry, { kind: "array" }> | null {
    const entry = this.entries.get(key);
    if (entry === undefined) return null;
    if (entry.kind !== "array") throw this.wrongType(key, "an array");
    return entry;
  }

  private value<T extends Scalar>(key: string, what: string, fallback?: T | null): Scalar | null {
    const entry = this.entries.get(key);
    if (entry === undefined) {
      if (fallback !== undefined) return fallback;
      throw invalidGguf(
        this.path,
        null,
        `the metadata lack ${key} (a ${what})`,
        "the file may be of another kind (an adapter, a projector), or its converter was too old",
      );
    }
    if (entry.kind === "array") throw this.wrongType(key, `a ${what}`);
    return entry.value;
  }

  private wrongType(key: string, wanted: string): Error {
    const at = this.entries.get(key)?.at ?? null;
    return invalidGguf(this.path, at, `${key} is ${this.describe(key)}, not ${wanted}`);
  }
}

function readEntry(cursor: Cursor, key: string, at: number): Entry {
  const typeAt = cursor.offset;
  const id = cursor.u32(`type of ${key}`);
  if (id !== arrayTypeId) {
    const type = typeById.get(id);
    if (type === undefined)
      throw invalidGguf(cursor.path, typeAt, `${key} has value type ${id}, which does not exist`);
    if (type === "string") return { kind: "scalar", type, value: cursor.looseString(key), at };
    const first = cursor.take(valueTypes[type].bytes, key);
    return { kind: "scalar", type, value: readScalar(cursor.data, type, first), at };
  }
  const elementAt = cursor.offset;
  const element = cursor.u32(`element type of ${key}`);
  const type = typeById.get(element);
  if (type === undefined)
    throw invalidGguf(
      cursor.path,
      elementAt,
      `${key} is an array of value type ${element}, which does not exist`,
    );
  const { bytes } = valueTypes[type];
  const length = cursor.count(bytes, `length of ${key}`);
  const first = cursor.offset;
  if (type === "string") for (let i = 0; i < length; i++) cursor.skipString(`${key}[${i}]`);
  else cursor.take(length * bytes, key);
  return { kind: "array", type, length, first, at };
}

function readScalar(
  data: DataView,
  type: Exclude<ValueType, "string">,
  at: number,
): number | boolean {
  switch (type) {
    case "u8":
      return data.getUint8(at);
    case "i8":
      return data.getInt8(at);
    case "u16":
      return data.getUint16(at, true);
    case "i16":
      return data.getInt16(at, true);
    case "u32":
      return data.getUint32(at, true);
    case "i32":
      return data.getInt32(at, true);
    case "f32":
      return data.getFloat32(at, true);
    case "bool":
      return data.getUint8(at) !== 0;
    case "u64":
      return Number(data.getBigUint64(at, true));
    case "i64":
      return Number(data.getBigInt64(at, true));
    case "f64":
      return data.getFloat64(at, true);
  }
}
