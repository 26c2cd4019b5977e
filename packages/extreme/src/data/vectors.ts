/** Dense vectors that another encoder made: raw little-endian f32, row after row, without a header. */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import type { Csr } from "./csr.ts";

/** Reads `rows` vectors; their width follows from the file's size. Throws DATASET_INVALID for other sizes and values that are not finite. */
export function readVectors(file: string, rows: number): Csr {
  const bytes = statSync(file).size;
  const dim = bytes / 4 / rows;
  if (rows === 0 || !Number.isInteger(dim) || dim % 8 !== 0 || dim === 0)
    throw new MillraceError(
      "DATASET_INVALID",
      `${file} has ${bytes} bytes, which is no whole number of dimensions for ${rows} points`,
      { hint: "the file holds points × dim × 4 bytes; the dimension is a multiple of 8" },
    );
  const values = new Float32Array(rows * dim);
  const view = new Uint8Array(values.buffer);
  const descriptor = openSync(file, "r");
  try {
    for (let at = 0; at < bytes; )
      at += readSync(descriptor, view, at, Math.min(1 << 28, bytes - at), at);
  } finally {
    closeSync(descriptor);
  }
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new MillraceError(
      "DATASET_INVALID",
      `${file}: value ${bad % dim} of point ${Math.floor(bad / dim)} is not a finite number`,
    );
  return {
    rows,
    cols: dim,
    indptr: Int32Array.from({ length: rows + 1 }, (_, i) => i * dim),
    indices: Int32Array.from({ length: rows * dim }, (_, i) => i % dim),
    values,
  };
}
