/** What the KV cache of the engine needs from the system: pages that can be moved, room for mappings, memory. */
import { formatBytes } from "@millrace/core";
import {
  cudaDevices,
  cudaDriver,
  hugePageMode,
  MemoryFile,
  mappedMemorySupported,
  maxMappings,
  pageBytes,
  Reservation,
  readLimits,
  usableMemoryBytes,
} from "@millrace/system";
import { type Finding, sentence } from "./finding.ts";

/** Maps and populates a page of each kind. */
export function kvPages(): Finding {
  const name = "KV pages";
  const disables =
    "KV caches that grow page by page (kv.type vattention) and shared prefixes; kv.type static works everywhere";
  if (!mappedMemorySupported()) {
    const detail = `need 64-bit Linux, and this is ${process.platform}-${process.arch}`;
    return { name, state: "absent", detail, disables };
  }
  const memfd = failureOf(mapShared);
  const madvise = failureOf(populatePrivate);
  const most = maxMappings();
  const mappings = most === null ? "" : `; ${most} mappings at most (vm.max_map_count)`;
  if (memfd === null && madvise === null)
    return { name, state: "present", detail: `memfd and madvise work${mappings}`, disables };
  const reasons = [memfd, madvise].filter((reason) => reason !== null).join("; ");
  return {
    name,
    state: memfd !== null && madvise !== null ? "absent" : "present",
    detail: reasons,
    disables,
  };
}

function failureOf(body: () => void): string | null {
  try {
    body();
    return null;
  } catch (error) {
    return sentence(error);
  }
}

function mapShared(): void {
  using file = new MemoryFile("millrace-doctor", pageBytes());
  using range = new Reservation(pageBytes());
  file.allocate(0, pageBytes());
  range.mapFile(0, pageBytes(), file, 0);
}

function populatePrivate(): void {
  using range = new Reservation(pageBytes(), "read-write");
  range.populate(0, pageBytes());
  range.discard(0, pageBytes());
}

/** How much the cache can take: kv.memory by default is this, less weights and a reserve. */
export function kvMemory(): Finding {
  const limits = readLimits();
  const { cgroup, memoryLimitBytes, memoryUsedBytes } = limits;
  const bytes = formatBytes(usableMemoryBytes(limits));
  const used = memoryUsedBytes === null ? "" : `, ${formatBytes(memoryUsedBytes)} of it in use`;
  const whose =
    memoryLimitBytes === null
      ? `all of the machine; ${cgroup === "none" ? "there is no cgroup" : `cgroup ${cgroup} sets no limit`}`
      : `the limit of cgroup ${cgroup}${used}`;
  return {
    name: "KV memory",
    state: "present",
    detail: `${bytes} for weights, KV cache and the rest: ${whose}`,
    disables: "nothing",
  };
}

export function hugePages(): Finding {
  const mode = hugePageMode();
  const there = mode === "always" || mode === "madvise";
  return {
    name: "huge pages",
    state: there ? "present" : "absent",
    detail: mode === null ? "the system has none" : `transparent, ${mode}`,
    disables: "kv.page 2MiB in huge pages (kv.backend madvise); it works in small ones",
  };
}

export function cuda(): Finding {
  const name = "CUDA driver";
  const disables = "device CUDA0 … and kv.backend cuda; models are computed on the CPU";
  try {
    const { version } = cudaDriver();
    const devices = cudaDevices().map(
      (device) =>
        `${device.name} ${formatBytes(device.totalBytes)}${device.virtualMemory ? "" : " (cannot map pages)"}`,
    );
    return {
      name,
      state: devices.length > 0 ? "present" : "absent",
      detail: `CUDA ${version}: ${devices.join(", ") || "no device"}`,
      disables,
    };
  } catch (error) {
    return { name, state: "absent", detail: sentence(error), disables };
  }
}
