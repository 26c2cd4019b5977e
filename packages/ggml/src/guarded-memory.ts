/**
 * Memory between two pages that nothing may touch: a write past either end stops the process at once instead of changing
 * somebody else's data. Where the system has no such pages it is plain memory, and `guarded` says so.
 */
import { InvariantError } from "@millrace/core";
import {
  mappedMemorySupported,
  memoryView,
  pageBytes,
  Reservation,
  roundUpToPages,
} from "@millrace/system";
import { HostMemory } from "./host-memory.ts";

/** Most bytes of one view. */
const windowBytes = 2 ** 31;

export class GuardedMemory implements Disposable {
  readonly address: bigint;
  /** As asked for; the last byte is followed by the guard page. */
  readonly bytes: number;
  readonly guarded: boolean;
  readonly #reservation: Reservation | null;
  readonly #plain: HostMemory | null;

  /** `bytes` >= 64, a multiple of 64; untouched pages take no memory. */
  constructor(bytes: number) {
    if (!Number.isSafeInteger(bytes) || bytes < 64 || bytes % 64 !== 0)
      throw new InvariantError(`guarded memory of ${bytes} bytes`);
    this.bytes = bytes;
    this.guarded = mappedMemorySupported();
    if (!this.guarded) {
      this.#reservation = null;
      this.#plain = new HostMemory(bytes);
      this.address = this.#plain.address;
      return;
    }
    const page = pageBytes();
    const pages = roundUpToPages(bytes);
    this.#plain = null;
    this.#reservation = new Reservation(pages + 2 * page);
    this.#reservation.mapAnonymous(page, pages);
    // Whatever the pages have too many lies in front, so that the end is exact.
    this.address = this.#reservation.address + BigInt(page + pages - bytes);
  }

  /** Bytes at an offset, without a copy: at most 2 GiB at a time. The view must not be used after disposal. */
  view(at: number, bytes: number): Uint8Array {
    if (!(at >= 0 && bytes > 0 && bytes <= windowBytes && at + bytes <= this.bytes))
      throw new InvariantError(`a view of ${bytes} bytes at ${at} of ${this.bytes}`);
    if (this.#plain !== null) return this.#plain.u8(at, bytes);
    return new Uint8Array(memoryView(this.address + BigInt(at), bytes));
  }

  [Symbol.dispose](): void {
    this.#reservation?.[Symbol.dispose]();
  }
}
