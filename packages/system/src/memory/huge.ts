/** Huge pages for memory that somebody else reserved: random reads of a gigabyte miss the TLB at every row otherwise. */
import { InvariantError } from "@millrace/core";
import { koffi } from "../foreign.ts";
import { libc, mappedMemorySupported, pageBytes } from "../libc.ts";
import { MADV } from "./flags.ts";

/**
 * Asks for huge pages where `bytes` lies, before it is first written to (MADV_HUGEPAGE): the whole pages of the range, so that
 * neighbours keep theirs. False, with nothing done, where the system has no such pages or does not give them on request.
 * Contents stay; the process may occupy up to a huge page more at each end.
 */
export function adviseHuge(bytes: Uint8Array): boolean {
  if (!mappedMemorySupported() || bytes.byteLength === 0) return false;
  const page = BigInt(pageBytes());
  const address = koffi.address(bytes);
  if (address <= 0n) throw new InvariantError(`${address} is not an address`);
  const from = ((address + page - 1n) / page) * page;
  const to = ((address + BigInt(bytes.byteLength)) / page) * page;
  return to > from && libc().madvise(from, Number(to - from), MADV.HUGEPAGE) === 0;
}
