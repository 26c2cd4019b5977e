/**
 * Native memory as ArrayBuffers. A view must not outlive its mapping: reading it then would end the process. Owners
 * that hand out views therefore go through ViewLedger, which keeps the addresses mapped (to nothing) until the last
 * view was collected.
 */
import { constants } from "node:buffer";
import { InvariantError } from "@millrace/core";
import { koffi } from "../foreign.ts";
import { failure, libc } from "../libc.ts";
import { MAP, PROT } from "./flags.ts";
import { checkBytes } from "./range.ts";

/** Most bytes of one view on this Node (4 GiB on Node 20). */
export const maxViewBytes: number = constants.MAX_LENGTH;

/**
 * An ArrayBuffer over native memory, without a copy. The caller vouches that the range is mapped as long as the buffer
 * or a typed array on it is used. 1.5 µs. Throws InvariantError for null, for no bytes and for more than maxViewBytes.
 */
export function memoryView(address: bigint, bytes: number): ArrayBuffer {
  checkBytes(bytes, "memoryView");
  if (address <= 0n) throw new InvariantError(`memoryView: ${address} is not an address`);
  // koffi ends the process beyond the limit of the runtime, so it is checked here.
  if (bytes > maxViewBytes)
    throw new InvariantError(`memoryView: ${bytes} bytes exceed the ${maxViewBytes} of one view`);
  return koffi.view(address, bytes);
}

interface Owned {
  live: number;
  retired: { readonly address: bigint; readonly bytes: number } | null;
}

const collected = new FinalizationRegistry<Owned>((owned) => {
  owned.live--;
  if (owned.live === 0 && owned.retired !== null)
    libc().munmap(owned.retired.address, owned.retired.bytes);
});

/** The views that one mapping handed out, and its unmapping. */
export class ViewLedger {
  private readonly owned: Owned = { live: 0, retired: null };

  /** A view that later unmapping leaves harmless. */
  view(address: bigint, bytes: number): ArrayBuffer {
    const buffer = memoryView(address, bytes);
    this.owned.live++;
    collected.register(buffer, this.owned);
    return buffer;
  }

  /**
   * Unmaps; once. While views are alive the range becomes empty private memory instead (reads give 0), and is unmapped
   * when they were collected: a late read through a typed array is a bug, but must not end the process.
   */
  unmap(address: bigint, bytes: number): void {
    if (this.owned.retired !== null) throw new InvariantError("the range was unmapped already");
    this.owned.retired = { address, bytes };
    if (this.owned.live === 0) {
      if (libc().munmap(address, bytes) !== 0) throw failure("munmap", `${address}, ${bytes}`);
      return;
    }
    const flags = MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED | MAP.NORESERVE;
    if (BigInt(libc().mmap(address, bytes, PROT.READ | PROT.WRITE, flags, -1, 0)) === -1n)
      throw failure("mmap", `${address}, ${bytes}, retired`);
  }
}
