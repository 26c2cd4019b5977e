/** A small file with every kind of metadata, for tests. */
import type { MetadataValues } from "./write/header.ts";
import type { TensorSource } from "./write/write-gguf.ts";

export const sampleMetadata: MetadataValues = {
  "general.architecture": { type: "string", value: "llama" },
  "general.name": { type: "string", value: "Grüße ▁ 🦊" },
  "a.u8": { type: "u8", value: 255 },
  "a.i8": { type: "i8", value: -128 },
  "a.u16": { type: "u16", value: 65535 },
  "a.i16": { type: "i16", value: -32768 },
  "a.u32": { type: "u32", value: 4294967295 },
  "a.i32": { type: "i32", value: -2147483648 },
  "a.f32": { type: "f32", value: 1.5 },
  "a.u64": { type: "u64", value: 2 ** 52 },
  "a.i64": { type: "i64", value: -(2 ** 52) },
  "a.f64": { type: "f64", value: Math.PI },
  "a.bool": { type: "bool", value: true },
  "a.strings": { type: "string[]", value: ["one", "", "drei ß"] },
  "a.ints": { type: "i32[]", value: [-1, 0, 7] },
  "a.floats": { type: "f32[]", value: [0.25, -2] },
  "a.empty": { type: "u32[]", value: [] },
};

/** A tensor of consecutive numbers. */
export function countingTensor(name: string, shape: readonly number[]): TensorSource {
  const elements = shape.reduce((product, size) => product * size, 1);
  return {
    name,
    shape,
    type: "f32",
    *pieces() {
      const values = Float32Array.from({ length: elements }, (_, i) => i);
      const bytes = new Uint8Array(values.buffer);
      yield bytes.subarray(0, 4);
      yield bytes.subarray(4);
    },
  };
}
