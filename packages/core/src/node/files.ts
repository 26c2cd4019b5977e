/** Reading and writing whole files: a reader that helps with mistyped names, and writes that are complete or absent. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { InvariantError, MillraceError } from "../errors.ts";
import { didYouMean } from "../suggest.ts";

/** The UTF-8 text of a file. Throws MillraceError FILE_UNREADABLE; the hint names the nearest file of that folder. */
export function readTextFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const hint = readHint(path, codeOf(error));
    throw new MillraceError("FILE_UNREADABLE", `${path}: ${systemReason(error)}`, {
      at: { file: path },
      cause: error,
      ...(hint !== undefined && { hint }),
    });
  }
}

function readHint(path: string, code: string): string | undefined {
  if (code === "EISDIR") return "name a file in that folder";
  if (code === "EACCES" || code === "EPERM") return "check the file's permissions";
  if (code !== "ENOENT") return undefined;
  // Look for the first part of the path that does not exist, and for a name like it.
  let missing = path;
  for (;;) {
    const folder = dirname(missing);
    let names: string[];
    try {
      names = readdirSync(folder);
    } catch (error) {
      if (codeOf(error) !== "ENOENT" || folder === missing) return undefined;
      missing = folder;
      continue;
    }
    const near = didYouMean(basename(missing), names);
    if (near === null || near === basename(missing)) return undefined;
    return `did you mean ${folder === "." ? near : join(folder, near)}?`;
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "this is a folder, not a file",
  ENOTDIR: "a part of the path is a file, not a folder",
  EEXIST: "a file of that name is in the way",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space is left on the device",
  EDQUOT: "the disk quota is used up",
  ELOOP: "links of the path lead back to themselves",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
};

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** What the system refused, in words; the error's own message where it has none for it. */
export function systemReason(error: unknown): string {
  return reasons[codeOf(error)] ?? (error instanceof Error ? error.message : String(error));
}

/**
 * Makes a folder and those that it lies in; one that is there is left as it is. Node's own way never returns where a file system
 * answers that a folder's parent is missing although it is there, as /proc does. Throws what mkdir throws.
 */
export function makeFolder(path: string, mode?: number): void {
  try {
    mkdirSync(path, mode);
  } catch (error) {
    if (codeOf(error) === "EEXIST" && statSync(path).isDirectory()) return;
    if (codeOf(error) !== "ENOENT") throw error;
    const parent = dirname(path);
    if (existsSync(parent)) throw new Error("no folders can be made there", { cause: error });
    makeFolder(parent, mode);
    makeFolder(path, mode);
  }
}

/**
 * Writes a file completely or not at all: folders are made, data goes to a temporary name in the same folder, is
 * flushed to the device and renamed. Throws MillraceError OUTPUT_UNWRITABLE and leaves no temporary file.
 */
export function writeFileAtomic(path: string, data: string | Uint8Array): void {
  using stream = new AtomicFileStream(path);
  stream.write(data);
  stream.commit();
}

/** Characters gathered before a write. */
const bufferLength = 1 << 18;
let temporaries = 0;

/**
 * A large output written in pieces; it appears under its name at `commit` and never otherwise: disposal without a
 * commit discards it. A device or a pipe (/dev/null, /dev/stdout) cannot be replaced: it is written as it comes. Every
 * method throws MillraceError OUTPUT_UNWRITABLE after discarding.
 */
export class AtomicFileStream implements Disposable {
  readonly path: string;
  /** Where the data goes first; null when it goes to the path itself. */
  private readonly temporary: string | null;
  private file: number | null = null;
  private buffer = "";

  constructor(path: string) {
    this.path = path;
    temporaries++;
    const there = standing(path);
    const replaceable = there === undefined || there.isFile() || there.isDirectory();
    const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${temporaries}.tmp`);
    this.temporary = replaceable ? temporary : null;
    this.attempt(() => {
      if (there?.isDirectory()) throw Object.assign(new Error("a folder"), { code: "EISDIR" });
      makeFolder(dirname(path));
      this.file = this.temporary === null ? openSync(path, "w") : openSync(this.temporary, "wx");
    });
  }

  /** Appends; text is written as UTF-8. */
  write(chunk: string | Uint8Array): void {
    const file = this.opened();
    this.attempt(() => {
      if (typeof chunk === "string") {
        this.buffer += chunk;
        if (this.buffer.length >= bufferLength) this.flush(file);
      } else {
        this.flush(file);
        writeAll(file, chunk);
      }
    });
  }

  /** Makes the file appear, replacing one of that name; the last call. */
  commit(): void {
    const file = this.opened();
    this.attempt(() => {
      this.flush(file);
      if (this.temporary !== null) fsyncSync(file);
      this.file = null;
      closeSync(file);
      if (this.temporary !== null) renameSync(this.temporary, this.path);
    });
  }

  /** Drops what was written; nothing happens after a commit or a second time. */
  discard(): void {
    if (this.file === null) return;
    const file = this.file;
    this.file = null;
    this.buffer = "";
    closeSync(file);
    if (this.temporary !== null) remove(this.temporary);
  }

  [Symbol.dispose](): void {
    this.discard();
  }

  private opened(): number {
    if (this.file === null)
      throw new InvariantError(`${this.path} was committed or discarded already`);
    return this.file;
  }

  private flush(file: number): void {
    if (this.buffer === "") return;
    // A chunk may end between the halves of a surrogate pair: keep the first half for the next write.
    const last = this.buffer.charCodeAt(this.buffer.length - 1);
    const kept = last >= 0xd800 && last <= 0xdbff && this.buffer.length > 1 ? 1 : 0;
    const text = this.buffer.slice(0, this.buffer.length - kept);
    this.buffer = this.buffer.slice(this.buffer.length - kept);
    writeAll(file, Buffer.from(text, "utf8"));
  }

  private attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.discard();
      if (this.temporary !== null) remove(this.temporary);
      throw new MillraceError("OUTPUT_UNWRITABLE", `${this.path}: ${systemReason(error)}`, {
        at: { file: this.path },
        cause: error,
        hint: "choose another place, or make room and allow writing there",
      });
    }
  }
}

/** What is at a path; undefined where nothing is, or where opening will say why it cannot be looked at. */
function standing(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** Removes the file if it is there; what stands in the way of that was reported by what came before. */
function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The folder is gone or was never one, so there is nothing to remove.
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}
