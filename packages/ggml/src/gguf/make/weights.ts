/** Random weights, generated and encoded piece by piece: memory stays at a few megabytes whatever the model. */
import type { Rng } from "@millrace/core";
import type { TensorType } from "../tensor-types.ts";
import { tensorTypes } from "../tensor-types.ts";
import { encoder } from "../write/encode.ts";
import type { TensorSource } from "../write/write-gguf.ts";

/** How a tensor's values are drawn. */
export type Values =
  /** All ones (norms). */
  | { readonly kind: "ones" }
  /** Uniform with this standard deviation; `small` rows are a tenth of it. */
  | { readonly kind: "random"; readonly deviation: number; readonly small?: readonly number[] };

/** Values of one piece; whole rows, so that blocks are never cut. */
const pieceValues = 1 << 18;

/**
 * A tensor of random values that depend on seed and name alone: not on format, order or piece size. One-dimensional
 * tensors stay in single precision, as llama.cpp keeps them; rows that are no whole blocks of `type` take q8_0 or f16.
 */
export function weights(
  name: string,
  shape: readonly number[],
  type: TensorType,
  values: Values,
  rng: Rng,
): TensorSource {
  const row = shape[0] ?? 1;
  const rows = shape.slice(1).reduce((product, size) => product * size, 1);
  const stored = shape.length === 1 ? "f32" : fitting(type, row);
  return {
    name,
    shape,
    type: stored,
    *pieces() {
      const rowsAtOnce = Math.max(1, Math.floor(pieceValues / row));
      const buffer = new Float32Array(Math.min(rowsAtOnce, rows) * row);
      const encode = encoder(stored, buffer.length, row);
      const stream = rng.fork(name);
      for (let at = 0; at < rows; at += rowsAtOnce) {
        const count = Math.min(rowsAtOnce, rows - at);
        const part = buffer.subarray(0, count * row);
        fill(part, values, stream, at, row);
        yield encode(part);
      }
    },
  };
}

function fitting(type: TensorType, row: number): TensorType {
  if (row % tensorTypes[type].block === 0) return type;
  return row % tensorTypes.q8_0.block === 0 ? "q8_0" : "f16";
}

function fill(part: Float32Array, values: Values, rng: Rng, firstRow: number, row: number): void {
  if (values.kind === "ones") {
    part.fill(1);
    return;
  }
  // Uniform over ±√3·deviation has that standard deviation, and costs one draw.
  const scale = (values.deviation * Math.sqrt(3)) / 2 ** 31;
  for (let i = 0; i < part.length; i++) part[i] = (rng.uint32() - 2 ** 31) * scale;
  for (const small of values.small ?? []) {
    const start = (small - firstRow) * row;
    if (start < 0 || start >= part.length) continue;
    for (let i = start; i < start + row; i++) part[i] = (part[i] ?? 0) / 10;
  }
}
