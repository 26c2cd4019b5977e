/** What the kernel is told about the use of a file (posix_fadvise). */
import { failure, libc } from "../libc.ts";

const ADVICE = { random: 1, sequential: 2, "will-need": 3, "dont-need": 4 } as const;

/** dont-need drops clean pages of the range from the page cache; needs no privilege. */
export type AdvisedUse = keyof typeof ADVICE;

/** Advises on `bytes` at `offset` (0 bytes: to the end). Throws MillraceError SYSTEM_CALL_FAILED. */
export function adviseFile(fd: number, offset: number, bytes: number, use: AdvisedUse): void {
  const errno = Number(libc().posix_fadvise(fd, offset, bytes, ADVICE[use]));
  if (errno !== 0) throw failure("posix_fadvise", `${use}, ${bytes} bytes at ${offset}`, errno);
}
