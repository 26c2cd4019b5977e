/** Raw little-endian arrays in files of their own. */
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { AtomicFileStream } from "@millrace/core/node";
import { overlayFile } from "@millrace/system";

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

/**
 * The same without a copy, where the array lies in pages of its own and the system maps files: pages are read when they are
 * first touched, and shared between processes. The file must stay as it is. Throws as `readArray` does.
 */
export function mapArray(path: string, view: RawArray): void {
  if (!existsSync(path) || !overlayFile(bytesOf(view), path)) readArray(path, view);
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
