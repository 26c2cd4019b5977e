/** Checks of byte ranges and addresses before they reach the kernel. */
import { InvariantError } from "@millrace/core";
import { pageBytes } from "../libc.ts";

/** Throws InvariantError unless bytes is a positive whole number. */
export function checkBytes(bytes: number, what: string): void {
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    throw new InvariantError(`${what}: ${bytes} is not a positive number of bytes`);
}

/** Throws InvariantError unless [offset, offset + bytes) lies inside `size` bytes and both are whole pages. */
export function checkPages(offset: number, bytes: number, size: number, what: string): void {
  checkBytes(bytes, what);
  const page = pageBytes();
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + bytes > size)
    throw new InvariantError(`${what}: ${bytes} bytes at ${offset} do not lie in ${size} bytes`);
  if (offset % page !== 0 || bytes % page !== 0)
    throw new InvariantError(
      `${what}: ${bytes} bytes at ${offset} are not whole ${page}-byte pages`,
    );
}

/** Bytes rounded up to whole pages. */
export function roundUpToPages(bytes: number): number {
  const page = pageBytes();
  return Math.ceil(bytes / page) * page;
}
