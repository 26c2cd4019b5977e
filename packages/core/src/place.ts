/** Places in text files, for error messages. */
import type { Place } from "./errors.ts";

/** Line and column (from 1) of a character offset; a byte order mark takes no column. O(offset). */
export function placeAt(text: string, file: string, offset: number): Place {
  let line = 1;
  let lineStart = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  for (let at = text.indexOf("\n"); at >= 0 && at < offset; at = text.indexOf("\n", at + 1)) {
    line++;
    lineStart = at + 1;
  }
  return { file, line, column: Math.max(1, offset - lineStart + 1) };
}
