/**
 * Items from files of this machine. Direct input keeps the page cache out, so that memory is where the byte cache says
 * it is; buffered reads that drop their pages afterwards are the way where a file system has no direct input.
 */
import { close, constants, open, read } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { MillraceError } from "@millrace/core";
import { adviseFile } from "@millrace/system";
import type { Extent } from "../source/source.ts";
import type { ReadCounts, ReadRequest, ReadResult, StorageReader } from "./storage-reader.ts";

/** direct: O_DIRECT; drop: buffered, then posix_fadvise(DONTNEED); cached: buffered, the page cache keeps what it likes. */
export type ReadMode = "direct" | "drop" | "cached";

export interface FileReaderOptions {
  /** Default direct, which becomes drop on file systems that refuse it. */
  readonly mode?: ReadMode;
  /** Attempts after the first when a read fails for a reason that may pass (default 3, from 20 ms, doubling). */
  readonly retries?: number;
  /** Shards kept open (default 64). Files that hold one item each are closed at once. */
  readonly openFiles?: number;
}

interface OpenFile {
  readonly fd: Promise<number>;
  users: number;
  /** To be closed by its last user. */
  retired: boolean;
}

const block = 4096;
const openAsync = promisify(open);
const closeAsync = promisify(close);
const passing = new Set([
  "EIO",
  "EAGAIN",
  "EINTR",
  "ESTALE",
  "ETIMEDOUT",
  "EBUSY",
  "EMFILE",
  "ENFILE",
]);
const directFlag = (constants as { readonly O_DIRECT?: number }).O_DIRECT ?? 0;

/** Reads by plain file operations on the thread pool: as many at once as UV_THREADPOOL_SIZE says (4). */
export class FileReader implements StorageReader {
  readonly name = "file";
  private mode: ReadMode;
  private readonly retries: number;
  private readonly openFiles: number;
  /** Open shards in order of use; a promise, so that one open serves reads that arrive together. */
  private readonly kept = new Map<string, OpenFile>();
  private readonly totals = { reads: 0, bytes: 0, storageBytes: 0, retries: 0, failures: 0 };

  constructor(options: FileReaderOptions = {}) {
    const wanted = options.mode ?? "direct";
    this.mode = wanted === "direct" && directFlag === 0 ? "drop" : wanted;
    this.retries = options.retries ?? 3;
    this.openFiles = options.openFiles ?? 64;
  }

  /** How files are read now. */
  get readMode(): ReadMode {
    return this.mode;
  }

  room({ offset, bytes }: Extent): number {
    const head = offset % block;
    return Math.max(block, Math.ceil((head + bytes) / block) * block);
  }

  async read(request: ReadRequest, into: Uint8Array, signal?: AbortSignal): Promise<ReadResult> {
    const { extent } = request;
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      try {
        const result = await this.attempt(extent, into);
        this.totals.reads++;
        this.totals.bytes += extent.bytes;
        this.totals.storageBytes += result.storageBytes;
        return result;
      } catch (cause) {
        const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
        if (code === "EINVAL" && this.mode === "direct") {
          this.mode = "drop";
          await this.closeAll();
          continue;
        }
        if (attempt < this.retries && passing.has(code)) {
          this.totals.retries++;
          await sleep(20 * 2 ** attempt, undefined, signal && { signal });
          continue;
        }
        this.totals.failures++;
        if (cause instanceof MillraceError) throw cause;
        throw new MillraceError(
          "DATA_UNREADABLE",
          `${extent.path} cannot be read: ${code || String(cause)}`,
          { at: { file: extent.path }, cause },
        );
      }
    }
  }

  private async attempt(extent: Extent, into: Uint8Array): Promise<ReadResult> {
    const { path, offset, bytes } = extent;
    if (bytes === 0) return { start: 0, storageBytes: 0 };
    const direct = this.mode === "direct";
    const from = direct ? offset - (offset % block) : offset;
    const start = offset - from;
    const most = direct ? this.room(extent) : bytes;
    const file = await this.acquire(path, extent);
    try {
      let got = 0;
      while (got < start + bytes) {
        const n = await readInto(file.fd, into, got, most - got, from + got);
        if (n === 0)
          throw new MillraceError(
            "DATA_UNREADABLE",
            `${path} ends at byte ${from + got}, before ${offset + bytes}`,
            {
              at: { file: path },
              hint: "the file was cut off or replaced after the data set was opened",
            },
          );
        got += n;
        // Direct input goes on at a whole block only, and a short read that is none is the end of the file.
        if (direct && got % block !== 0 && got < start + bytes) got -= got % block;
      }
      if (this.mode === "drop") adviseFile(file.fd, from, most, "dont-need");
      return { start, storageBytes: got };
    } finally {
      await file.done();
    }
  }

  /** A descriptor: kept for files that hold more than this item. */
  private async acquire(
    path: string,
    extent: Extent,
  ): Promise<{ fd: number; done: () => Promise<void> }> {
    const flags = constants.O_RDONLY | (this.mode === "direct" ? directFlag : 0);
    if (extent.whole === true) {
      const fd = await openAsync(path, flags);
      return { fd, done: () => closeAsync(fd) };
    }
    const entry = this.kept.get(path) ?? { fd: openAsync(path, flags), users: 0, retired: false };
    entry.users++;
    this.kept.delete(path);
    this.kept.set(path, entry);
    try {
      const fd = await entry.fd;
      return { fd, done: () => this.let(entry) };
    } catch (error) {
      if (this.kept.get(path) === entry) this.kept.delete(path);
      throw error;
    }
  }

  private async let(entry: OpenFile): Promise<void> {
    entry.users--;
    if (entry.retired && entry.users === 0) await closeAsync(await entry.fd);
    for (const [path, old] of this.kept) {
      if (this.kept.size <= this.openFiles) break;
      if (old.users > 0) continue;
      this.kept.delete(path);
      await closeAsync(await old.fd);
    }
  }

  private async closeAll(): Promise<void> {
    const files = [...this.kept.values()];
    this.kept.clear();
    for (const file of files) {
      file.retired = true;
      if (file.users === 0) await file.fd.then(closeAsync).catch(() => {});
    }
  }

  counts(): ReadCounts {
    return { ...this.totals };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.closeAll();
  }
}

function readInto(
  fd: number,
  into: Uint8Array,
  at: number,
  bytes: number,
  position: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, into, at, bytes, position, (error, n) => (error ? reject(error) : resolve(n)));
  });
}
