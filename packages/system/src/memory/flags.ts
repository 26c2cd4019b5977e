/** Constants of Linux's mmap, mprotect, madvise, memfd_create and fallocate (the same on x64 and arm64). */

export const PROT = { NONE: 0, READ: 1, WRITE: 2 } as const;

export const MAP = {
  SHARED: 0x01,
  PRIVATE: 0x02,
  FIXED: 0x10,
  ANONYMOUS: 0x20,
  NORESERVE: 0x4000,
  POPULATE: 0x8000,
} as const;

export const MADV = {
  WILLNEED: 3,
  DONTNEED: 4,
  HUGEPAGE: 14,
  NOHUGEPAGE: 15,
  POPULATE_WRITE: 23,
} as const;

export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2 } as const;

export const MFD_CLOEXEC = 1;
