/** How much physical memory this process holds, as the kernel counts it. */
import { readFileSync } from "node:fs";

/** Bytes of a process that lie in physical memory, by kind. */
export interface ResidentMemory {
  /** Private memory: heap, stacks, touched anonymous mappings. */
  readonly anonymousBytes: number;
  /** Mapped files in the page cache; given back when memory is short. */
  readonly fileBytes: number;
  /** Shared memory: memfd, tmpfs, shared anonymous mappings. */
  readonly sharedBytes: number;
}

/**
 * Resident memory of this process from /proc/self/status (30 µs). Elsewhere everything counts as anonymous, from what
 * Node reports.
 */
export function residentMemory(): ResidentMemory {
  const text = readOrNull("/proc/self/status");
  if (text === null)
    return { anonymousBytes: process.memoryUsage.rss(), fileBytes: 0, sharedBytes: 0 };
  return {
    anonymousBytes: field(text, "RssAnon"),
    fileBytes: field(text, "RssFile"),
    sharedBytes: field(text, "RssShmem"),
  };
}

/** What the pages of this process cost exactly: slower (it walks the page tables), for measurements. */
export interface MemoryRollup {
  readonly residentBytes: number;
  /** Resident, with shared pages divided among their users. */
  readonly proportionalBytes: number;
  readonly privateDirtyBytes: number;
  /** Part of the private memory in huge pages. */
  readonly hugeBytes: number;
}

/** /proc/self/smaps_rollup; null where the system has none. */
export function memoryRollup(): MemoryRollup | null {
  const text = readOrNull("/proc/self/smaps_rollup");
  if (text === null) return null;
  return {
    residentBytes: field(text, "Rss"),
    proportionalBytes: field(text, "Pss"),
    privateDirtyBytes: field(text, "Private_Dirty"),
    hugeBytes: field(text, "AnonHugePages"),
  };
}

/** Number of mappings of this process, or null where it cannot be known; compare with maxMappings. */
export function mappingCount(): number | null {
  const text = readOrNull("/proc/self/maps");
  if (text === null) return null;
  let lines = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
  return lines;
}

/** Most mappings a process may have (vm.max_map_count); null where there is no such limit to read. */
export function maxMappings(): number | null {
  const text = readOrNull("/proc/sys/vm/max_map_count");
  return text === null ? null : Number(text);
}

/** Paths of the shared libraries that this process has mapped, from /proc/self/maps; empty where there is none. */
export function loadedLibraries(): readonly string[] {
  const paths = (readOrNull("/proc/self/maps") ?? "").matchAll(/ (\/[^\n]*\.so[^\n]*)$/gm);
  return [...new Set([...paths].map((match) => match[1] ?? ""))];
}

/** How the system gives huge pages to private memory: always, on request (madvise) or never; null where it does not say. */
export function hugePageMode(): string | null {
  const text = readOrNull("/sys/kernel/mm/transparent_hugepage/enabled");
  return /\[(\w+)\]/.exec(text ?? "")?.[1] ?? null;
}

function field(text: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text);
  return match?.[1] === undefined ? 0 : Number(match[1]) * 1024;
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
