/** The limits that a container or a service manager puts on this process: cgroup v2, v1, both at once, or none. */
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join, relative } from "node:path";

/** What this process may use. */
export interface Limits {
  /** Which hierarchy gave the memory limit. */
  readonly cgroup: "v2" | "v1" | "none";
  /** Least memory limit of the cgroup and those above it; null = none is set. */
  readonly memoryLimitBytes: number | null;
  /** What the cgroup uses of it now, page cache included; null without a limit. */
  readonly memoryUsedBytes: number | null;
  /** CPUs that the quota allows (quota over period, not rounded); null = no quota. */
  readonly cpuQuota: number | null;
  readonly physicalBytes: number;
}

/** Reads a file's text, or null when it is absent. */
export type ReadText = (path: string) => string | null;

/** The limits of this process. `read` gives the text of a file; other readers are for tests. */
export function readLimits(read: ReadText = readOrNull, physicalBytes = totalmem()): Limits {
  const groups = parseGroups(read("/proc/self/cgroup") ?? "");
  const mounts = parseMounts(read("/proc/self/mountinfo") ?? "");
  const memory = memoryLimit(read, groups, mounts, physicalBytes);
  return { ...memory, cpuQuota: cpuQuota(read, groups, mounts), physicalBytes };
}

/** Bytes this process may use in all: the cgroup's limit or the machine's memory, whichever is less. */
export function usableMemoryBytes(limits: Limits = readLimits()): number {
  return Math.min(limits.memoryLimitBytes ?? Number.POSITIVE_INFINITY, limits.physicalBytes);
}

/** A mounted hierarchy of cgroups. */
export interface CgroupMount {
  readonly root: string;
  readonly point: string;
  readonly kind: "v1" | "v2";
  readonly controllers: readonly string[];
}

/** Lines `id:controllers:path`; the v2 line has id 0 and no controllers. */
export function parseGroups(text: string): ReadonlyMap<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, controllers, ...path] = line.split(":");
    if (controllers === undefined || path.length === 0) continue;
    for (const controller of controllers.split(",")) groups.set(controller, path.join(":"));
  }
  return groups;
}

/** Lines `… root point … - type source options`; spaces in paths are written \040. */
export function parseMounts(text: string): readonly CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (const line of text.split("\n")) {
    const [before, after] = line.split(" - ");
    const [, , , root, point] = before?.split(" ") ?? [];
    const [type, , options] = after?.split(" ") ?? [];
    if (root === undefined || point === undefined) continue;
    if (type !== "cgroup" && type !== "cgroup2") continue;
    mounts.push({
      root: unescapePath(root),
      point: unescapePath(point),
      kind: type === "cgroup2" ? "v2" : "v1",
      controllers: options?.split(",") ?? [],
    });
  }
  return mounts;
}

function unescapePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** Folders of the process's group and all above it, innermost first. */
export function groupFolders(mount: CgroupMount, path: string): readonly string[] {
  // Inside a container the mount may show only a part of the tree: its root is then a prefix of the path, or not at all.
  const inside = relative(mount.root, path);
  const parts = inside.startsWith("..") ? [] : inside.split("/").filter((part) => part !== "");
  return Array.from({ length: parts.length + 1 }, (_, up) =>
    join(mount.point, ...parts.slice(0, parts.length - up)),
  );
}

function find(
  groups: ReadonlyMap<string, string>,
  mounts: readonly CgroupMount[],
  kind: "v1" | "v2",
  controller: string,
): readonly string[] {
  const path = groups.get(kind === "v2" ? "" : controller);
  const mount = mounts.find(
    (one) => one.kind === kind && (kind === "v2" || one.controllers.includes(controller)),
  );
  return path === undefined || mount === undefined ? [] : groupFolders(mount, path);
}

function memoryLimit(
  read: ReadText,
  groups: ReadonlyMap<string, string>,
  mounts: readonly CgroupMount[],
  physicalBytes: number,
): Pick<Limits, "cgroup" | "memoryLimitBytes" | "memoryUsedBytes"> {
  for (const [kind, limitFile, usedFile] of [
    ["v2", "memory.max", "memory.current"],
    ["v1", "memory.limit_in_bytes", "memory.usage_in_bytes"],
  ] as const) {
    const places = find(groups, mounts, kind, "memory");
    let known = false;
    let best: { readonly limit: number; readonly folder: string } | null = null;
    for (const folder of places) {
      const text = read(join(folder, limitFile))?.trim();
      if (text === undefined) continue;
      known = true;
      // v1 writes "no limit" as a huge number, v2 as "max".
      const limit = Number(text);
      if (!(limit < physicalBytes)) continue;
      if (best === null || limit < best.limit) best = { limit, folder };
    }
    if (best !== null) {
      const used = read(join(best.folder, usedFile));
      return {
        cgroup: kind,
        memoryLimitBytes: best.limit,
        memoryUsedBytes: used === null ? null : Number(used),
      };
    }
    if (known) return { cgroup: kind, memoryLimitBytes: null, memoryUsedBytes: null };
  }
  return { cgroup: "none", memoryLimitBytes: null, memoryUsedBytes: null };
}

function cpuQuota(
  read: ReadText,
  groups: ReadonlyMap<string, string>,
  mounts: readonly CgroupMount[],
): number | null {
  const quotas: number[] = [];
  for (const folder of find(groups, mounts, "v2", "cpu")) {
    const [quota, period] = read(join(folder, "cpu.max"))?.trim().split(" ") ?? [];
    quotas.push(Number(quota) / Number(period));
  }
  for (const folder of find(groups, mounts, "v1", "cpu")) {
    const quota = Number(read(join(folder, "cpu.cfs_quota_us")) ?? Number.NaN);
    quotas.push(quota / Number(read(join(folder, "cpu.cfs_period_us")) ?? Number.NaN));
  }
  // "max", -1 and absent files are no quotas.
  const set = quotas.filter((quota) => quota > 0);
  return set.length === 0 ? null : Math.min(...set);
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
