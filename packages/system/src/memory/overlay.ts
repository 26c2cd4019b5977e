/** A file's bytes in the place of memory that somebody else reserved: loading without a copy, for memories that cannot be chosen. */
import { closeSync, fstatSync, openSync } from "node:fs";
import { InvariantError } from "@millrace/core";
import { koffi } from "../foreign.ts";
import { failure, libc, mappedMemorySupported, pageBytes } from "../libc.ts";
import { MAP, PROT } from "./flags.ts";

/**
 * Maps the whole file over `bytes`, privately: pages are read when they are first touched and shared with other processes until
 * they are written to, and writes never reach the file. False, with nothing done, where that cannot be: no mapped memory
 * here, memory that does not begin at a page, a page that it shares with what lies behind, a file of another size. The pages
 * stay mapped until the buffer itself is freed; the file must not be cut short meanwhile. Throws for a system error.
 */
export function overlayFile(bytes: Uint8Array, path: string): boolean {
  if (!mappedMemorySupported() || bytes.byteLength === 0) return false;
  const page = pageBytes();
  const whole = Math.ceil(bytes.byteLength / page) * page;
  const address = koffi.address(bytes);
  if (address <= 0n) throw new InvariantError(`${address} is not an address`);
  if (address % BigInt(page) !== 0n || bytes.byteOffset + whole > bytes.buffer.byteLength)
    return false;
  const fd = openSync(path, "r");
  try {
    if (fstatSync(fd).size !== bytes.byteLength) return false;
    const access = PROT.READ | PROT.WRITE;
    const flags = MAP.PRIVATE | MAP.FIXED;
    if (Number(libc().mmap(address, bytes.byteLength, access, flags, fd, 0)) === -1)
      throw failure("mmap", path);
    return true;
  } finally {
    closeSync(fd);
  }
}
