import { MillraceError } from "@millrace/core";

/** The error of a damaged file: where it is, what is wrong, and what to do about it. */
export function invalidGguf(
  path: string,
  offset: number | null,
  problem: string,
  hint = "download the file again and compare its size and checksum with the source",
): MillraceError {
  const where = offset === null ? path : `${path}: at byte ${offset}`;
  return new MillraceError("GGUF_INVALID", `${where}: ${problem}`, { hint, at: { file: path } });
}
