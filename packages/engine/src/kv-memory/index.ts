/**
 * Memory of the KV cache: contiguous virtual tensors, physical pages on demand (vAttention). Carries out the orders of a
 * KV policy; decides nothing.
 */
import { InvariantError, MillraceError } from "@millrace/core";
import {
  type DeviceMemory,
  mappedMemorySupported,
  mappingCount,
  maxMappings,
  usableMemoryBytes,
} from "@millrace/system";
import type { KvGeometry, KvMemory } from "../contracts.ts";
import { CudaRegion } from "./cuda-region.ts";
import { type KvLayout, kvLayout } from "./kv-layout.ts";
import { MappedKvMemory } from "./mapped-memory.ts";
import { PlainKvMemory } from "./plain-memory.ts";
import { HUGE_PAGE_BYTES, MadviseRegion, MemfdRegion } from "./virtual-region.ts";

export { CudaRegion } from "./cuda-region.ts";
export { type KvLayout, kvLayout } from "./kv-layout.ts";
export { MappedKvMemory } from "./mapped-memory.ts";
export { PlainKvMemory } from "./plain-memory.ts";
export { MadviseRegion, MemfdRegion, type VirtualRegion } from "./virtual-region.ts";

export type KvBackend = "memfd" | "madvise" | "plain" | "cuda";

export interface KvMemoryOptions {
  readonly backend: KvBackend;
  /** Bytes of a physical page: a power of two, 4 KiB … 2 MiB. */
  readonly pageBytes: number;
  readonly layout: "per-layer" | "sliced";
  /** Page groups in the physical pool: the limit of what the cache occupies. Not used by plain. */
  readonly groups: number;
  /** cuda: where the pages are; disposed with the KV memory, and when that cannot be made. */
  readonly device?: DeviceMemory;
}

/** Share of the usable memory that is left to everything else. */
const SPARE_SHARE = 0.2;
/** Least that is left: Node, activations, the system. */
const SPARE_BYTES = 512 * 1024 ** 2;

/** Whether pages can be mapped here at all. */
export const pagesCanBeMapped = mappedMemorySupported;

/** Bytes that the KV cache may occupy beside the weights, within the cgroup's or the machine's memory; at least 0. */
export function defaultKvBytes(weightsBytes: number): number {
  const usable = usableMemoryBytes();
  return Math.max(
    0,
    Math.floor(usable - Math.max(SPARE_BYTES, SPARE_SHARE * usable) - weightsBytes),
  );
}

/**
 * Makes the memory. Throws MillraceError: CONFIG_INVALID (pages, or more mappings than the system allows),
 * SYSTEM_UNSUPPORTED, SYSTEM_CALL_FAILED.
 */
export function createKvMemory(geometry: KvGeometry, options: KvMemoryOptions): KvMemory {
  const layout = kvLayout(geometry, options.pageBytes, options.layout);
  switch (options.backend) {
    case "plain":
      return new PlainKvMemory(layout);
    case "madvise":
      return new MappedKvMemory(
        new MadviseRegion(layout.bytes, options.pageBytes >= HUGE_PAGE_BYTES),
        layout,
        options.groups,
      );
    case "memfd": {
      checkMappings(layout, options.groups, geometry.slots);
      const pool = options.groups * layout.groupBytes;
      return new MappedKvMemory(new MemfdRegion(layout.bytes, pool), layout, options.groups);
    }
    case "cuda":
      return new MappedKvMemory(cudaRegion(layout, options), layout, options.groups);
  }
}

function cudaRegion(layout: KvLayout, { device, groups }: KvMemoryOptions): CudaRegion {
  if (device === undefined) throw new InvariantError("KV memory on CUDA without its device");
  try {
    return new CudaRegion(device, {
      bytes: layout.bytes,
      poolBytes: groups * layout.groupBytes,
      pageBytes: layout.pageBytes,
      readAheadBytes: layout.readAheadBytes,
    });
  } catch (error) {
    device[Symbol.dispose]();
    throw error;
  }
}

/** Smallest page that is taken by itself: smaller ones waste less and cost more calls. */
const USUAL_PAGE_BYTES = 64 * 1024;

/** The least page from 64 KiB on with which a cache of `bytes` stays within the mappings that the system allows. */
export function usualPageBytes(
  geometry: KvGeometry,
  layout: "per-layer" | "sliced",
  bytes: number,
): number {
  const most = maxMappings() ?? Number.POSITIVE_INFINITY;
  let pageBytes = USUAL_PAGE_BYTES;
  for (; pageBytes < HUGE_PAGE_BYTES; pageBytes *= 2) {
    const placed = kvLayout(geometry, pageBytes, layout);
    const groups = Math.floor(bytes / placed.groupBytes);
    if (mappingsFor(placed, groups, geometry.slots) <= most / 2) break;
  }
  return pageBytes;
}

function mappingsFor(layout: KvLayout, groups: number, slots: number): number {
  const pagesOfSlots = (slots * layout.slotStride) / layout.pageBytes;
  return layout.tensors * (Math.min(groups, pagesOfSlots) + slots) + (mappingCount() ?? 0);
}

/** Every page of a memory file may become a mapping of its own; the system allows a process only so many. */
function checkMappings(layout: KvLayout, groups: number, slots: number): void {
  const most = maxMappings();
  if (most === null) return;
  const needed = mappingsFor(layout, groups, slots);
  if (needed <= most) return;
  throw new MillraceError(
    "CONFIG_INVALID",
    `the KV cache may need ${needed} mappings, but vm.max_map_count is ${most}`,
    {
      hint: "take larger pages (kv.page), kv.layout sliced, less kv.memory, or raise vm.max_map_count with sysctl",
    },
  );
}
