/**
 * Native signatures as data, typed: a table of `name: [result, ...arguments]` becomes an object of functions. Pointers are
 * bigint addresses (null = NULL); typed arrays may stand for pointer arguments.
 */
import { koffi } from "@millrace/system";

/** Native types that the tables may use. */
export interface NativeTypes {
  void: undefined;
  bool: boolean;
  i32: number;
  u32: number;
  /** 64-bit integer that stays below 2^53 in practice. */
  i64: number;
  size: number;
  f32: number;
  str: string | null;
  ptr: bigint | null;
}

type ArgumentTypes = Omit<NativeTypes, "ptr" | "str"> & {
  ptr: bigint | null | ArrayBufferView;
  str: string | null;
};

export type NativeType = keyof NativeTypes;
export type Signature = readonly [NativeType, ...NativeType[]];

type Parameters<S extends Signature> = S extends readonly [NativeType, ...infer A]
  ? { [I in keyof A]: A[I] extends NativeType ? ArgumentTypes[A[I]] : never }
  : never;

/** A bound native function; `async` runs it on a thread of the libuv pool. */
export interface NativeFunction<S extends Signature> {
  (...args: Parameters<S>): NativeTypes[S[0]];
  async(
    ...args: [...Parameters<S>, (error: Error | null, result: NativeTypes[S[0]]) => void]
  ): void;
}

export type Bound<T extends Readonly<Record<string, Signature>>> = {
  readonly [K in keyof T]: NativeFunction<T[K]>;
};

const spelling: Record<NativeType, string> = {
  void: "void",
  bool: "bool",
  i32: "int32_t",
  u32: "uint32_t",
  i64: "int64_t",
  size: "size_t",
  f32: "float",
  str: "const char *",
  ptr: "void *",
};

/** The part of a koffi library that binding needs. */
export interface SymbolSource {
  func(name: string, result: string, args: string[]): unknown;
}

/** Binds every function of the table; throws the loader's error when a symbol is missing. */
export function bind<const T extends Readonly<Record<string, Signature>>>(
  library: SymbolSource,
  table: T,
): Bound<T> {
  const bound: Record<string, unknown> = {};
  for (const [name, [result, ...args]] of Object.entries(table)) {
    bound[name] = library.func(
      name,
      spelling[result],
      args.map((type) => spelling[type]),
    );
  }
  return bound as Bound<T>;
}

let prototypes = 0;

/** Binds one function by its address (function pointers that a library hands out). */
export function bindAddress<const S extends Signature>(
  address: bigint,
  [result, ...args]: S,
): NativeFunction<S> {
  prototypes += 1;
  const proto = koffi.proto(
    `millrace_fn_${prototypes}`,
    spelling[result],
    args.map((type) => spelling[type]),
  );
  return koffi.decode(address, proto) as NativeFunction<S>;
}
