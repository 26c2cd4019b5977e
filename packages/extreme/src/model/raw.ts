/** Raw little-endian arrays in files of their own. */
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { AtomicFileStream } from "@millrace/core/node";

/** Arrays that are stored as they lie in memory. */
export type RawArray = Float32Array | Int32Array | Uint32Array | Uint16Array;

function bytesOf(view: RawArray): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** The kernel takes at most 2 GB a call. */
const writeBytes = 1 << 28;

/** Writes an array whole or not at all. */
export function writeArray(path: string, view: RawArray): void {
  using file = new AtomicFileStream(path);
  const bytes = bytesOf(view);
  for (let at = 0; at < bytes.length; at += writeBytes)
    file.write(bytes.subarray(at, at + writeBytes));
  file.commit();
}

/** Reads a raw array into `view`. Throws DATASET_INVALID where the sizes differ. */
export function readArray(path: string, view: RawArray): void {
  const bytes = bytesOf(view);
  const found = existsSync(path) ? statSync(path).size : -1;
  if (found !== bytes.length)
    throw new MillraceError(
      "DATASET_INVALID",
      found < 0 ? `${path} is missing` : `${path} has ${found} bytes instead of ${bytes.length}`,
      { hint: "model folders are written whole; this one was changed or copied in part" },
    );
  const file = openSync(path, "r");
  try {
    for (let at = 0; at < bytes.length; )
      at += readSync(file, bytes, at, Math.min(writeBytes, bytes.length - at), at);
  } finally {
    closeSync(file);
  }
}
