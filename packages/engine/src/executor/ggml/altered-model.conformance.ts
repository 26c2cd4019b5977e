/** Copies of a model file with other metadata or tensors: variants that no preset makes. */
import {
  type Gguf,
  type MetadataValue,
  type MetadataValues,
  openGguf,
  type TensorSource,
  writeGguf,
} from "@millrace/ggml/gguf";

function metadataValue({ metadata }: Gguf, key: string): MetadataValue {
  const described = metadata.describe(key) ?? "";
  const scalar = metadata.scalar(key);
  if (scalar !== undefined) return { type: described, value: scalar } as MetadataValue;
  const type = described.slice(0, described.indexOf("["));
  const value = type === "string" ? metadata.strings(key) : metadata.numbers(key);
  return { type: `${type}[]`, value } as unknown as MetadataValue;
}

/** Writes `from` to `out` with `changes` to its metadata, without the tensors `drop` and with those of `add`. */
export function alterModel(
  from: string,
  out: string,
  changes: MetadataValues,
  {
    add = [],
    drop = [],
  }: { readonly add?: readonly TensorSource[]; readonly drop?: readonly string[] } = {},
): string {
  using gguf = openGguf(from);
  const kept = Object.fromEntries(gguf.metadata.keys.map((key) => [key, metadataValue(gguf, key)]));
  const tensors = gguf.tensors
    .filter(({ name }) => !drop.includes(name))
    .map((tensor) => ({ ...tensor, pieces: () => [gguf.data(tensor)] }));
  return writeGguf(out, { ...kept, ...changes }, [...tensors, ...add]).path;
}

/** A tensor of single-precision values. */
export function f32Tensor(name: string, values: Float32Array): TensorSource {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { name, type: "f32", shape: [values.length], pieces: () => [bytes] };
}
