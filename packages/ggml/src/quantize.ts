/** Conversion between f32 and the types of stored tensors, a chunk of rows at a time. */
import { koffi } from "@millrace/system";
import { badOperands } from "./fail.ts";
import { type NativeLibrary, nativeLibrary } from "./native/library.ts";
import { bindAddress, type NativeFunction } from "./native/signatures.ts";
import { blockElements, isQuantized, rowBytes, type TensorType, typeId } from "./types.ts";

/** Types that `quantize` writes: those that need no importance matrix. */
export function isQuantizable(type: TensorType): boolean {
  const { base } = nativeLibrary();
  const floats = type === "f32" || type === "f16" || type === "bf16";
  if (floats) return true;
  const stored = isQuantized(type) && type !== "q8_1" && type !== "q8_K" && type !== "nvfp4";
  return stored && !base.ggml_quantize_requires_imatrix(typeId(type));
}

/**
 * Converts rows of `columns` f32 values to `type`. `from.length` is a multiple of `columns`, `columns` of the type's block.
 * Throws GGML_SHAPE otherwise, or when the type cannot be written without an importance matrix.
 */
export function quantize(type: TensorType, from: Float32Array, columns: number): Uint8Array {
  const rows = from.length / columns;
  if (!Number.isInteger(rows) || columns < 1 || columns % blockElements(type) !== 0)
    badOperands("quantize", `${from.length} values as rows of ${columns} in ${type}`);
  if (!isQuantizable(type)) badOperands("quantize", `${type} cannot be written from f32 alone`);
  const { base } = nativeLibrary();
  const out = new Uint8Array(rowBytes(type, columns) * rows);
  if (from.length === 0) return out;
  if (type === "f32") out.set(new Uint8Array(from.buffer, from.byteOffset, from.byteLength));
  else if (type === "f16") base.ggml_fp32_to_fp16_row(from, out, from.length);
  else if (type === "bf16") base.ggml_fp32_to_bf16_row(from, out, from.length);
  else base.ggml_quantize_chunk(typeId(type), from, out, 0, rows, columns, null);
  return out;
}

type ToFloat = NativeFunction<readonly ["void", "ptr", "ptr", "i64"]>;
const converters = new Map<TensorType, ToFloat | null>();

/** Offset of `to_float` in ggml_type_traits. */
const toFloatOffset = 40;

function converter(library: NativeLibrary, type: TensorType): ToFloat | null {
  let found = converters.get(type);
  if (found === undefined) {
    const traits = library.base.ggml_get_type_traits(typeId(type));
    const address =
      traits === null ? null : (koffi.decode(traits, toFloatOffset, "void *") as bigint | null);
    found = address === null ? null : bindAddress(address, ["void", "ptr", "ptr", "i64"]);
    converters.set(type, found);
  }
  return found;
}

/** Converts stored rows to f32; `from` holds whole blocks. Throws GGML_SHAPE for types without a conversion. */
export function dequantize(type: TensorType, from: Uint8Array): Float32Array {
  const elements = (from.byteLength / rowBytes(type, blockElements(type))) * blockElements(type);
  if (!Number.isInteger(elements)) badOperands("dequantize", `${from.byteLength} bytes of ${type}`);
  const out = new Float32Array(elements);
  if (elements === 0) return out;
  if (type === "f32") {
    new Uint8Array(out.buffer).set(from);
    return out;
  }
  const convert = converter(nativeLibrary(), type);
  if (convert === null) badOperands("dequantize", `${type} has no conversion to f32`);
  convert(from, out, elements);
  return out;
}
