/** Files mapped for reading: their bytes without a copy, shared with the page cache and other processes. */
import { closeSync, fstatSync, openSync } from "node:fs";
import { InvariantError, MillraceError } from "@millrace/core";
import { errnoName } from "../errno.ts";
import { failure, libc } from "../libc.ts";
import { MADV, MAP, PROT } from "./flags.ts";
import { ViewLedger } from "./view.ts";

/**
 * A whole file in memory, read-only: writing through a view ends the process, and so does reading a part that another
 * process cut off after the mapping. Disposal ends the mapping; views that are still about read zeros from then on.
 */
export class MappedFile implements Disposable {
  readonly path: string;
  readonly address: bigint;
  /** Size of the file when it was mapped. */
  readonly bytes: number;
  private readonly views = new ViewLedger();
  private open = true;
  private whole: ArrayBuffer | null = null;

  /** Use `mapFile`. */
  constructor(path: string, address: bigint, bytes: number) {
    this.path = path;
    this.address = address;
    this.bytes = bytes;
  }

  /** The whole file; throws InvariantError beyond maxViewBytes (4 GiB on Node 20), where `view` is the way. */
  get buffer(): ArrayBuffer {
    this.whole ??= this.view(0, this.bytes);
    return this.whole;
  }

  /** Part of the file, without a copy. Throws InvariantError outside the file. */
  view(offset: number, bytes: number): ArrayBuffer {
    if (!this.open) throw new InvariantError(`${this.path}: the mapping was disposed`);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + bytes > this.bytes)
      throw new InvariantError(`${this.path}: ${bytes} bytes at ${offset} of ${this.bytes}`);
    return this.views.view(this.address + BigInt(offset), bytes);
  }

  /** Asks the system to read the file ahead. */
  prefetch(): void {
    if (libc().madvise(this.address, this.bytes, MADV.WILLNEED) !== 0)
      throw failure("madvise", `prefetch ${this.path}`);
  }

  [Symbol.dispose](): void {
    if (!this.open) return;
    this.open = false;
    this.whole = null;
    this.views.unmap(this.address, this.bytes);
  }
}

/**
 * Maps a file for reading. Throws MillraceError FILE_UNREADABLE (absent, a folder, empty, not allowed) and
 * SYSTEM_UNSUPPORTED where files cannot be mapped.
 */
export function mapFile(path: string): MappedFile {
  const { mmap } = libc();
  const fd = openForReading(path);
  try {
    const bytes = fstatSync(fd).size;
    if (bytes === 0) throw unreadable(path, "the file is empty");
    const address = BigInt(mmap(0n, bytes, PROT.READ, MAP.SHARED, fd, 0));
    if (address === -1n) throw failure("mmap", path);
    return new MappedFile(path, address, bytes);
  } finally {
    closeSync(fd);
  }
}

function openForReading(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    const errno = error instanceof Error && "errno" in error ? Number(error.errno) : 0;
    throw unreadable(path, errnoName(Math.abs(errno)).message, error);
  }
  if (!fstatSync(fd).isFile()) {
    closeSync(fd);
    throw unreadable(path, "this is not a file");
  }
  return fd;
}

function unreadable(path: string, why: string, cause?: unknown): MillraceError {
  return new MillraceError("FILE_UNREADABLE", `${path}: ${why}`, { at: { file: path }, cause });
}
