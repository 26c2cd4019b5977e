/** Writes GGUF files in pieces: memory stays at one piece, and a file that could not be finished never appears. */
import { InvariantError } from "@millrace/core";
import { AtomicFileStream } from "@millrace/core/node";
import { align, layOut, type MetadataValues, planBytes, type TensorPlan } from "./header.ts";

/** A tensor with its bytes, in pieces of any size that may be reused once the next is asked for. */
export interface TensorSource extends TensorPlan {
  pieces(): Iterable<Uint8Array>;
}

/** What was written. */
export interface WrittenGguf {
  readonly path: string;
  readonly bytes: number;
  readonly tensors: number;
}

/**
 * Writes a file, replacing one of that name at the end. `onProgress` hears of the bytes written so far. Throws
 * MillraceError OUTPUT_UNWRITABLE, InvariantError when a source brings too few or too many bytes.
 */
export function writeGguf(
  path: string,
  metadata: MetadataValues,
  tensors: readonly TensorSource[],
  onProgress?: (bytes: number, of: number) => void,
): WrittenGguf {
  const layout = layOut(metadata, tensors);
  using file = new AtomicFileStream(path);
  file.write(layout.header);
  let written = layout.header.length;
  for (const tensor of tensors) {
    const wanted = planBytes(tensor);
    let got = 0;
    for (const piece of tensor.pieces()) {
      got += piece.length;
      if (got > wanted) break;
      file.write(piece);
      onProgress?.(written + got, layout.fileBytes);
    }
    if (got !== wanted)
      throw new InvariantError(`${tensor.name} brought ${got} bytes instead of ${wanted}`);
    const padding = align(wanted) - wanted;
    if (padding > 0) file.write(new Uint8Array(padding));
    written += wanted + padding;
  }
  file.commit();
  return { path, bytes: written, tensors: tensors.length };
}
