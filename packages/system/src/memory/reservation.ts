/**
 * A range of virtual addresses that is ours, whether or not memory stands behind it (vAttention section 5.1). Every
 * operation takes offsets into the range and refuses anything outside it, so that no other mapping can be touched.
 */
import { InvariantError } from "@millrace/core";
import { callAsync, failure, libc, pageBytes } from "../libc.ts";
import { MADV, MAP, PROT } from "./flags.ts";
import type { MemoryFile } from "./memory-file.ts";
import { checkBytes, checkPages, roundUpToPages } from "./range.ts";
import { ViewLedger } from "./view.ts";

/** What a page may be used for; "none" faults on every touch. */
export type Access = "none" | "read" | "read-write";

const protections: Readonly<Record<Access, number>> = {
  none: PROT.NONE,
  read: PROT.READ,
  "read-write": PROT.READ | PROT.WRITE,
};

const anonymous = MAP.PRIVATE | MAP.ANONYMOUS | MAP.NORESERVE;

/**
 * Reserved address space; 30 µs for a terabyte and no memory. All failures of the kernel throw MillraceError
 * SYSTEM_CALL_FAILED with errno; ranges that are not whole pages inside the reservation throw InvariantError.
 */
export class Reservation implements Disposable {
  readonly address: bigint;
  /** Whole pages. */
  readonly bytes: number;
  private readonly views = new ViewLedger();
  private open = true;

  /**
   * Reserves `bytes` (rounded up to pages), by default without access; with "read-write" every page can be touched and
   * takes memory when it first is. `align` (a power of two) is for huge pages.
   */
  constructor(bytes: number, access: Access = "none", align = pageBytes()) {
    checkBytes(bytes, "Reservation");
    if (align < pageBytes() || !Number.isInteger(Math.log2(align)))
      throw new InvariantError(`Reservation: ${align} is no power of two of at least a page`);
    this.bytes = roundUpToPages(bytes);
    // Room to move the start up to the alignment; the rest goes back at once.
    const spare = align - pageBytes();
    const start = BigInt(
      libc().mmap(0n, this.bytes + spare, protections[access], anonymous, -1, 0),
    );
    if (start === -1n) throw failure("mmap", `reserve ${this.bytes} bytes`);
    const mask = BigInt(align) - 1n;
    this.address = (start + mask) & ~mask;
    const head = Number(this.address - start);
    if (head > 0) libc().munmap(start, head);
    if (spare - head > 0) libc().munmap(this.address + BigInt(this.bytes), spare - head);
  }

  /** Private zeroed pages at the offset, read and write; memory is taken when they are touched or populated. */
  mapAnonymous(offset: number, bytes: number): void {
    this.map(offset, bytes, PROT.READ | PROT.WRITE, anonymous, -1, 0, "mapAnonymous");
  }

  /** Pages of a memory file at the offset, shared with every other mapping of them; populated unless told otherwise. */
  mapFile(
    offset: number,
    bytes: number,
    file: MemoryFile,
    fileOffset: number,
    populate = true,
  ): void {
    checkPages(fileOffset, bytes, file.bytes, "mapFile");
    const flags = MAP.SHARED | (populate ? MAP.POPULATE : 0);
    const access = PROT.READ | PROT.WRITE;
    this.map(offset, bytes, access, flags, file.descriptor, fileOffset, "mapFile");
  }

  /** `mapFile` off the event loop. */
  async mapFileAsync(
    offset: number,
    bytes: number,
    file: MemoryFile,
    fileOffset: number,
  ): Promise<void> {
    checkPages(fileOffset, bytes, file.bytes, "mapFile");
    const at = this.at(offset, bytes, "mapFile");
    const flags = MAP.SHARED | MAP.POPULATE | MAP.FIXED;
    const access = PROT.READ | PROT.WRITE;
    const fd = file.descriptor;
    const done = await callAsync(libc().mmap, at, bytes, access, flags, fd, fileOffset);
    // errno belongs to the pool's thread: asking again here gives the reason, or succeeds.
    if (done === -1) this.mapFile(offset, bytes, file, fileOffset);
  }

  /** Takes whatever is mapped there away and leaves reserved addresses without access. */
  unmap(offset: number, bytes: number): void {
    this.map(offset, bytes, PROT.NONE, anonymous, -1, 0, "unmap");
  }

  /** `unmap` off the event loop. */
  async unmapAsync(offset: number, bytes: number): Promise<void> {
    const at = this.at(offset, bytes, "unmap");
    const flags = anonymous | MAP.FIXED;
    if ((await callAsync(libc().mmap, at, bytes, PROT.NONE, flags, -1, 0)) === -1)
      this.unmap(offset, bytes);
  }

  /** Changes what may be done with the pages. */
  protect(offset: number, bytes: number, access: Access): void {
    const at = this.at(offset, bytes, "protect");
    if (libc().mprotect(at, bytes, protections[access]) !== 0)
      throw failure("mprotect", `${bytes} bytes at ${offset}, ${access}`);
  }

  /** Gives writable pages physical memory now (MADV_POPULATE_WRITE, Linux 5.14); their content stays. */
  populate(offset: number, bytes: number): void {
    this.advise(offset, bytes, MADV.POPULATE_WRITE, "populate");
  }

  /** `populate` off the event loop. */
  populateAsync(offset: number, bytes: number): Promise<void> {
    return this.adviseAsync(offset, bytes, MADV.POPULATE_WRITE, "populate");
  }

  /** Returns the memory of private pages to the system; they stay mapped and read as zeros (MADV_DONTNEED). */
  discard(offset: number, bytes: number): void {
    this.advise(offset, bytes, MADV.DONTNEED, "discard");
  }

  /** `discard` off the event loop. */
  discardAsync(offset: number, bytes: number): Promise<void> {
    return this.adviseAsync(offset, bytes, MADV.DONTNEED, "discard");
  }

  /** Asks for huge pages in the range, or forbids them. */
  adviseHuge(offset: number, bytes: number, huge: boolean): void {
    this.advise(offset, bytes, huge ? MADV.HUGEPAGE : MADV.NOHUGEPAGE, "adviseHuge");
  }

  /** Bytes of the range as a buffer, without a copy; touching pages without access ends the process. */
  view(offset: number, bytes: number): ArrayBuffer {
    this.check(offset, bytes, "view");
    return this.views.view(this.address + BigInt(offset), bytes);
  }

  [Symbol.dispose](): void {
    if (!this.open) return;
    this.open = false;
    this.views.unmap(this.address, this.bytes);
  }

  private check(offset: number, bytes: number, what: string): void {
    if (!this.open) throw new InvariantError(`${what}: the reservation was disposed`);
    checkBytes(bytes, what);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + bytes > this.bytes)
      throw new InvariantError(
        `${what}: ${bytes} bytes at ${offset} do not lie in ${this.bytes} reserved bytes`,
      );
  }

  private at(offset: number, bytes: number, what: string): bigint {
    this.check(offset, bytes, what);
    checkPages(offset, bytes, this.bytes, what);
    return this.address + BigInt(offset);
  }

  private map(
    offset: number,
    bytes: number,
    access: number,
    flags: number,
    fd: number,
    fileOffset: number,
    what: string,
  ): void {
    const at = this.at(offset, bytes, what);
    if (Number(libc().mmap(at, bytes, access, flags | MAP.FIXED, fd, fileOffset)) === -1)
      throw failure("mmap", `${what}, ${bytes} bytes at ${offset}`);
  }

  private advise(offset: number, bytes: number, advice: number, what: string): void {
    const at = this.at(offset, bytes, what);
    if (libc().madvise(at, bytes, advice) !== 0)
      throw failure("madvise", `${what}, ${bytes} bytes at ${offset}`);
  }

  private async adviseAsync(
    offset: number,
    bytes: number,
    advice: number,
    what: string,
  ): Promise<void> {
    const at = this.at(offset, bytes, what);
    if ((await callAsync(libc().madvise, at, bytes, advice)) !== 0)
      this.advise(offset, bytes, advice, what);
  }
}
