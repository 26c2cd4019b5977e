/**
 * Physical pages under a contiguous range of virtual addresses (vAttention section 5): the range is reserved once, pages
 * come and go, and attention kernels see plain tensors. A region carries out; which page goes where is decided above.
 */
import { MemoryFile, Reservation } from "@millrace/system";

/** Offsets and sizes are whole pages, in bytes from the start of the range or of the physical pool. */
export interface VirtualRegion extends Disposable {
  readonly address: bigint;
  /** Whether a physical page has an identity, so that it can stand at several places and keep what it holds. */
  readonly sharesPages: boolean;
  /** Takes physical memory off the event loop, so that the following `map` is quick. Nothing may use the place yet. */
  prepare(offset: number, bytes: number, physical: number): Promise<void>;
  /** Brings the physical page to a place. Throws MillraceError SYSTEM_CALL_FAILED when memory is short. */
  map(offset: number, bytes: number, physical: number): void;
  /** Takes the page away; the place stays readable and reads as zeros, for kernels that read beyond a sequence's end. */
  unmap(offset: number, bytes: number): void;
  /** Gives the physical memory back to the system; what it held is lost. */
  release(physical: number, bytes: number): void;
}

/** Pages of a memory file: they can stand at several addresses at once. */
export class MemfdRegion implements VirtualRegion {
  readonly sharesPages = true;
  readonly #range: Reservation;
  readonly #pool: MemoryFile;

  constructor(bytes: number, poolBytes: number) {
    this.#range = new Reservation(bytes, "read-write");
    try {
      this.#pool = new MemoryFile("millrace-kv", poolBytes);
    } catch (error) {
      this.#range[Symbol.dispose]();
      throw error;
    }
  }

  get address(): bigint {
    return this.#range.address;
  }

  prepare(_offset: number, bytes: number, physical: number): Promise<void> {
    return this.#pool.allocateAsync(physical, bytes);
  }

  map(offset: number, bytes: number, physical: number): void {
    // Populating a shared mapping does not fail when memory is short; allocating does.
    this.#pool.allocate(physical, bytes);
    this.#range.mapFile(offset, bytes, this.#pool, physical);
  }

  unmap(offset: number, bytes: number): void {
    this.#range.mapAnonymous(offset, bytes);
  }

  release(physical: number, bytes: number): void {
    this.#pool.punch(physical, bytes);
  }

  [Symbol.dispose](): void {
    this.#range[Symbol.dispose]();
    this.#pool[Symbol.dispose]();
  }
}

/** Private pages that are populated and discarded in place: fewer mappings, and no sharing. */
export class MadviseRegion implements VirtualRegion {
  readonly sharesPages = false;
  readonly #range: Reservation;

  /** `huge` asks for huge pages. */
  constructor(bytes: number, huge: boolean) {
    this.#range = new Reservation(bytes, "read-write", huge ? HUGE_PAGE_BYTES : undefined);
    this.#range.adviseHuge(0, this.#range.bytes, huge);
  }

  get address(): bigint {
    return this.#range.address;
  }

  prepare(offset: number, bytes: number): Promise<void> {
    return this.#range.populateAsync(offset, bytes);
  }

  map(offset: number, bytes: number): void {
    this.#range.populate(offset, bytes);
  }

  unmap(offset: number, bytes: number): void {
    this.#range.discard(offset, bytes);
  }

  release(): void {}

  [Symbol.dispose](): void {
    this.#range[Symbol.dispose]();
  }
}

/** Size of a transparent huge page on x86-64 and on ARM with 4 KiB pages. */
export const HUGE_PAGE_BYTES = 2 * 1024 ** 2;
