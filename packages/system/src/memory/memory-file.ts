/** Anonymous shared memory (memfd): the pool of physical pages that several addresses may map at once. */
import { closeSync } from "node:fs";
import { InvariantError } from "@millrace/core";
import { callAsync, failure, libc } from "../libc.ts";
import { FALLOC, MFD_CLOEXEC } from "./flags.ts";
import { checkBytes, checkPages, roundUpToPages } from "./range.ts";

/** A file that lives in memory only; its pages take memory from allocation (or first touch) until they are punched. */
export class MemoryFile implements Disposable {
  /** Bytes of address room in the file; not what it occupies. */
  readonly bytes: number;
  private fd: number;

  /**
   * Creates the file, empty. `name` shows in /proc/PID/maps. Throws MillraceError SYSTEM_CALL_FAILED (too many open
   * files) or SYSTEM_UNSUPPORTED.
   */
  constructor(name: string, bytes: number) {
    checkBytes(bytes, "MemoryFile");
    this.bytes = roundUpToPages(bytes);
    this.fd = Number(libc().memfd_create(name, MFD_CLOEXEC));
    if (this.fd < 0) throw failure("memfd_create", name);
    if (libc().ftruncate(this.fd, this.bytes) !== 0) {
      const error = failure("ftruncate", `${name}, ${this.bytes}`);
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The file descriptor, for mapping. Throws InvariantError after disposal. */
  get descriptor(): number {
    if (this.fd < 0) throw new InvariantError("the memory file was disposed");
    return this.fd;
  }

  /** Gives the range physical pages now, zeroed where new. Throws SYSTEM_CALL_FAILED when memory is short. */
  allocate(offset: number, bytes: number): void {
    this.fallocate(0, offset, bytes, "allocate");
  }

  /** `allocate` off the event loop. */
  async allocateAsync(offset: number, bytes: number): Promise<void> {
    checkPages(offset, bytes, this.bytes, "allocate");
    const done = await callAsync(libc().fallocate, this.descriptor, 0, offset, bytes);
    // errno belongs to the pool's thread: asking again here gives the reason, or succeeds.
    if (done !== 0) this.allocate(offset, bytes);
  }

  /** Returns the pages of the range to the system; it reads as zeros afterwards, at every address that maps it. */
  punch(offset: number, bytes: number): void {
    this.fallocate(FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, offset, bytes, "punch");
  }

  [Symbol.dispose](): void {
    if (this.fd < 0) return;
    closeSync(this.fd);
    this.fd = -1;
  }

  private fallocate(mode: number, offset: number, bytes: number, what: string): void {
    checkPages(offset, bytes, this.bytes, what);
    if (libc().fallocate(this.descriptor, mode, offset, bytes) !== 0)
      throw failure("fallocate", `mode ${mode}, ${offset}, ${bytes}`);
  }
}
