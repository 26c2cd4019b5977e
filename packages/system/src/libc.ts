/**
 * The operating system, layer 1: mapped memory, shared memory and limits. This folder is the only place where libc is
 * called. It owns no policy: who maps what when is decided above. Every call checks its arguments, since a wrong
 * address would end the process. Background: vAttention section 5 (reserving virtual memory apart from physical).
 */
import { MillraceError } from "@millrace/core";
import { errnoName } from "./errno.ts";
import { koffi } from "./foreign.ts";

/** Completion of a call on a thread of libuv's pool. */
type Callback = (error: unknown, result: number | bigint) => void;

/** A native function: called at once, or off the event loop through `async`. */
interface Native<A extends readonly unknown[]> {
  (...args: A): number | bigint;
  readonly async: (...args: [...A, Callback]) => void;
}

/** The calls of libc that this package makes; addresses and sizes are in bytes. */
export interface Libc {
  readonly mmap: Native<[bigint, number, number, number, number, number]>;
  readonly munmap: Native<[bigint, number]>;
  readonly mprotect: Native<[bigint, number, number]>;
  readonly madvise: Native<[bigint, number, number]>;
  readonly memfd_create: Native<[string, number]>;
  readonly fallocate: Native<[number, number, number, number]>;
  readonly ftruncate: Native<[number, number]>;
  readonly getpagesize: Native<[]>;
  readonly flock: Native<[number, number]>;
  readonly posix_fadvise: Native<[number, number, number, number]>;
  readonly getsockopt: Native<[number, number, number, Uint8Array, Uint32Array]>;
}

let loaded: Libc | undefined;

/**
 * The bound calls of libc. Throws MillraceError SYSTEM_UNSUPPORTED where they do not exist (anything but Linux, or 32
 * bits): callers that have another way (plain allocation) ask `mappedMemorySupported` first.
 */
export function libc(): Libc {
  if (loaded !== undefined) return loaded;
  if (!mappedMemorySupported())
    throw new MillraceError(
      "SYSTEM_UNSUPPORTED",
      `mapped memory needs 64-bit Linux, and this is ${process.platform}-${process.arch}`,
      { hint: "choose plain allocation, or run on Linux" },
    );
  const library = koffi.load(null);
  const bind = <A extends readonly unknown[]>(name: string, result: string, args: string[]) =>
    library.func(name, result, args) as unknown as Native<A>;
  loaded = {
    mmap: bind("mmap", "intptr_t", ["uintptr_t", "size_t", "int", "int", "int", "int64_t"]),
    munmap: bind("munmap", "int", ["uintptr_t", "size_t"]),
    mprotect: bind("mprotect", "int", ["uintptr_t", "size_t", "int"]),
    madvise: bind("madvise", "int", ["uintptr_t", "size_t", "int"]),
    memfd_create: bind("memfd_create", "int", ["str", "uint"]),
    fallocate: bind("fallocate", "int", ["int", "int", "int64_t", "int64_t"]),
    ftruncate: bind("ftruncate", "int", ["int", "int64_t"]),
    getpagesize: bind("getpagesize", "int", []),
    flock: bind("flock", "int", ["int", "int"]),
    posix_fadvise: bind("posix_fadvise", "int", ["int", "int64_t", "int64_t", "int"]),
    getsockopt: bind("getsockopt", "int", ["int", "int", "int", "void *", "void *"]),
  };
  return loaded;
}

/** Whether this platform has the calls of this package (64-bit Linux). */
export function mappedMemorySupported(): boolean {
  return process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64");
}

let pageSize = 0;

/** Bytes of a page of the operating system (4096 on most machines, up to 65536 on some arm64). */
export function pageBytes(): number {
  if (pageSize === 0) pageSize = Number(libc().getpagesize());
  return pageSize;
}

/** The error of a call that just failed on this thread, naming the call, its arguments and errno. */
export function failure(call: string, detail: string, errno = koffi.errno()): MillraceError {
  const { name, message } = errnoName(errno);
  const hint = hints[name];
  return new MillraceError(
    "SYSTEM_CALL_FAILED",
    `${call}(${detail}) failed: ${name} (${message})`,
    {
      ...(hint !== undefined && { hint }),
    },
  );
}

const hints: Readonly<Record<string, string>> = {
  ENOMEM:
    "the machine or its limits have no more memory or mappings: see vm.max_map_count, vm.overcommit_memory and the memory limit of the cgroup",
  EAGAIN: "too much memory is locked, or the system is short of it for the moment",
  EPERM: "the process may not do this; a container may forbid the call",
  ENOSYS: "this kernel does not know the call; Linux 5.14 or later has all of them",
  ENOSPC: "there is no room left in shared memory or on the device",
  EMFILE: "too many files are open: raise the limit (ulimit -n)",
};

/** Calls on a pool thread; the result is -1 on failure, as in C. */
export function callAsync<A extends readonly unknown[]>(
  fn: Native<A>,
  ...args: A
): Promise<number> {
  return new Promise((resolve, reject) => {
    fn.async(...args, (error, result) => (error ? reject(error) : resolve(Number(result))));
  });
}
