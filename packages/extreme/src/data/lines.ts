/** Lines of plain or gzip files, as bytes: the files are large, and most lines are numbers that need no string. */
import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import { MillraceError } from "@millrace/core";

/** Gets one line: `bytes[from … to)` without its line end, and its 1-based number. The bytes are valid during the call. */
export type OnLine = (bytes: Uint8Array, from: number, to: number, line: number) => void;

/**
 * Calls `onLine` for every line of `path`; `.gz` is unpacked on the way. A last line without line end counts, an empty rest
 * after the last line end does not. Throws FILE_UNREADABLE, or what `onLine` throws. Memory: one block and the longest line.
 */
export async function eachLine(
  path: string,
  onLine: OnLine,
  signal?: AbortSignal,
): Promise<number> {
  const file = createReadStream(path, { highWaterMark: 1 << 20 });
  const source = path.endsWith(".gz") ? file.pipe(createGunzip()) : file;
  // An error of the file does not travel through pipe by itself.
  if (source !== file) file.on("error", (error) => source.destroy(error));
  let rest: Uint8Array = new Uint8Array(0);
  let line = 0;
  const give = (bytes: Uint8Array, from: number, to: number): void => {
    const end = to > from && bytes[to - 1] === 13 ? to - 1 : to;
    onLine(bytes, from, end, ++line);
  };
  try {
    for await (const block of source as AsyncIterable<Uint8Array>) {
      signal?.throwIfAborted();
      let bytes = block;
      if (rest.length > 0) {
        bytes = new Uint8Array(rest.length + block.length);
        bytes.set(rest);
        bytes.set(block, rest.length);
      }
      let from = 0;
      for (;;) {
        const end = bytes.indexOf(10, from);
        if (end < 0) break;
        give(bytes, from, end);
        from = end + 1;
      }
      rest = bytes.slice(from);
    }
  } catch (error) {
    throw readable(error, path);
  }
  if (rest.length > 0) give(rest, 0, rest.length);
  return line;
}

function readable(error: unknown, path: string): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  if (error instanceof MillraceError || typeof code !== "string") return error;
  if (code.startsWith("Z_"))
    return new MillraceError("DATASET_INVALID", `${path} is not a whole gzip file`, {
      cause: error,
      hint: "a download that broke off is the usual cause",
    });
  if (!code.startsWith("E")) return error;
  return new MillraceError("FILE_UNREADABLE", `cannot read ${path}: ${code}`, { cause: error });
}

/** What is wrong with one line of a data file; never returns. */
export function badLine(file: string, line: number, what: string, hint?: string): never {
  throw new MillraceError("DATASET_INVALID", `${file}:${line}: ${what}`, {
    at: { file, line },
    ...(hint === undefined ? {} : { hint }),
  });
}
