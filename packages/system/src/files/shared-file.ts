/**
 * Files that live in memory (/dev/shm) and are mapped by several processes. Room is taken before anything is mapped:
 * a page that could not be had would end the process with SIGBUS at its first touch, far from the cause.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  statfsSync,
  unlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { makeFolder } from "@millrace/core/node";
import { failure, libc } from "../libc.ts";
import { MAP, PROT } from "../memory/flags.ts";
import { ViewLedger } from "../memory/view.ts";

/** This user's folder of shared files, made when absent: /dev/shm/millrace-UID, or in the temporary folder. */
export function sharedFolder(): string {
  const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  return privateFolder(join(base, `millrace-${process.getuid?.() ?? 0}`));
}

/**
 * Makes the folder (mode 0700) or checks that it is ours alone: shared memory names are guessable, so a folder that
 * somebody else put there is refused. Throws MillraceError ENVIRONMENT_MISSING.
 */
export function privateFolder(path: string): string {
  makeFolder(path, 0o700);
  const stat = lstatSync(path);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0)
    throw new MillraceError(
      "ENVIRONMENT_MISSING",
      `${path} is not a folder of this user alone (mode ${(stat.mode & 0o777).toString(8)}, owner ${stat.uid})`,
      { hint: `remove it, or make it yours: chmod 700 ${path}` },
    );
  return path;
}

/** Bytes that the file system of the folder still has room for. */
export function sharedRoom(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

/**
 * Creates a shared file that must not exist yet, with all its memory. Throws MillraceError SHARED_MEMORY_FULL before
 * anything is written when there is no room, and leaves no file then.
 */
export function createShared(path: string, bytes: number): void {
  const fd = openSync(path, "wx+", 0o600);
  try {
    allocate(fd, path, bytes);
  } catch (error) {
    unlinkSync(path);
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Grows a shared file to `bytes`, all of it backed by memory; keeps what is there. */
export function allocateShared(path: string, bytes: number): void {
  const fd = openSync(path, "r+");
  try {
    allocate(fd, path, bytes);
  } finally {
    closeSync(fd);
  }
}

function allocate(fd: number, path: string, bytes: number): void {
  const room = sharedRoom(path) + fstatSync(fd).size;
  if (room < bytes || libc().fallocate(fd, 0, 0, bytes) !== 0)
    throw new MillraceError(
      "SHARED_MEMORY_FULL",
      `${path} needs ${bytes} bytes of shared memory and ${room} are free`,
      {
        at: { file: path },
        hint: "ask for less, or enlarge the file system (docker run --shm-size, mount -o remount,size=…)",
      },
    );
}

/** A file mapped for reading and writing, shared with every other process that maps it. */
export interface MappedRegion extends Disposable {
  readonly path: string;
  readonly buffer: ArrayBuffer;
}

/**
 * Maps the first `bytes` of a file. Throws MillraceError SHARED_MEMORY_INVALID when the file is shorter: touching what
 * is not there would end the process. Views that are about after disposal read zeros.
 */
export function mapShared(path: string, bytes: number): MappedRegion {
  let fd: number;
  try {
    fd = openSync(path, "r+");
  } catch (cause) {
    throw new MillraceError("SHARED_MEMORY_INVALID", `${path} cannot be opened for mapping`, {
      at: { file: path },
      cause,
    });
  }
  try {
    const { size } = fstatSync(fd);
    if (size < bytes)
      throw new MillraceError("SHARED_MEMORY_INVALID", `${path} has ${size} of ${bytes} bytes`, {
        at: { file: path },
      });
    const address = BigInt(libc().mmap(0n, bytes, PROT.READ | PROT.WRITE, MAP.SHARED, fd, 0));
    if (address === -1n) throw failure("mmap", path);
    const views = new ViewLedger();
    let open = true;
    return {
      path,
      buffer: views.view(address, bytes),
      [Symbol.dispose]() {
        if (!open) return;
        open = false;
        views.unmap(address, bytes);
      },
    };
  } finally {
    closeSync(fd);
  }
}
