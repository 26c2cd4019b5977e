/**
 * A cgroup of our own: bounds on memory (page cache included), CPU time and storage reads of the processes in it. The
 * kernel's two interfaces (v1: one tree per controller; v2: one tree) look alike from above. Needs the right to make
 * folders in the tree: root, or a delegated group.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { InvariantError, MillraceError } from "@millrace/core";
import { kill } from "../processes/process.ts";
import { groupFolders, parseGroups, parseMounts } from "./cgroup.ts";

/** What a group can bound; named as in v2. */
export type Controller = "memory" | "cpu" | "io";

/** The files that say where groups are; others than the system's are for tests. */
export interface GroupSystem {
  readonly cgroup: string;
  readonly mountinfo: string;
}

/** Where a controller's groups can be made. */
interface Parent {
  readonly kind: "v1" | "v2";
  readonly folder: string;
}

/** Memory of a group, bytes. */
export interface GroupMemory {
  readonly usedBytes: number;
  /** Pages of files. */
  readonly cacheBytes: number;
  /** Null when there is no limit. */
  readonly limitBytes: number | null;
}

/** Storage that the group's processes read, since the group was made. */
export interface GroupReads {
  readonly bytes: number;
  readonly operations: number;
}

const v1Names: Readonly<Record<Controller, string>> = { memory: "memory", cpu: "cpu", io: "blkio" };
const cpuPeriod = 100_000;

function systemFiles(): GroupSystem {
  return {
    cgroup: readFileSync("/proc/self/cgroup", "utf8"),
    mountinfo: readFileSync("/proc/self/mountinfo", "utf8"),
  };
}

/** Folders that may be the parent for the controller, best first. v1 nests below this process's group. */
function parents(controller: Controller, system: GroupSystem): readonly Parent[] {
  const groups = parseGroups(system.cgroup);
  const found: Parent[] = [];
  for (const mount of parseMounts(system.mountinfo)) {
    const name = mount.kind === "v2" ? "" : v1Names[controller];
    const path = groups.get(name);
    if (path === undefined || (mount.kind === "v1" && !mount.controllers.includes(name))) continue;
    const folders = groupFolders(mount, path);
    if (mount.kind === "v1") found.push({ kind: "v1", folder: folders[0] as string });
    else
      for (const folder of folders)
        if (words(join(folder, "cgroup.controllers")).includes(controller))
          found.push({ kind: "v2", folder });
  }
  return found;
}

function words(path: string): readonly string[] {
  return existsSync(path) ? readFileSync(path, "utf8").trim().split(/\s+/) : [];
}

/** Which interface offers each controller to this process; whether it may be used shows when a group is made. */
export function controllersOffered(
  system: GroupSystem = systemFiles(),
): Readonly<Record<Controller, "v1" | "v2" | null>> {
  const of = (controller: Controller) => parents(controller, system)[0]?.kind ?? null;
  return { memory: of("memory"), cpu: of("cpu"), io: of("io") };
}

/** A group. Disposal moves what still runs in it back to where it came from and removes it. */
export class ControlGroup implements Disposable {
  readonly name: string;
  private readonly folders: ReadonlyMap<Controller, Parent>;
  private open = true;

  private constructor(name: string, folders: ReadonlyMap<Controller, Parent>) {
    this.name = name;
    this.folders = folders;
  }

  /** Makes a group with the controllers, or opens the one of that name. Throws MillraceError ENVIRONMENT_MISSING that says what stands in the way. */
  static make(
    name: string,
    controllers: readonly Controller[],
    system: GroupSystem = systemFiles(),
  ): ControlGroup {
    if (!/^[\w.-]+$/.test(name)) throw new InvariantError(`a group called ${name}`);
    const folders = new Map<Controller, Parent>();
    const group = new ControlGroup(name, folders);
    try {
      for (const controller of controllers)
        folders.set(controller, makeFolder(name, controller, parents(controller, system)));
    } catch (error) {
      group[Symbol.dispose]();
      throw error;
    }
    return group;
  }

  /** Moves a process into the group; children it starts from then on are in it too. Memory it has stays charged where it was. */
  add(pid: number): void {
    for (const folder of this.distinctFolders()) write(join(folder, "cgroup.procs"), String(pid));
  }

  /** Processes in the group now, and in groups that they have made inside it. */
  members(): readonly number[] {
    const pids = new Set<number>();
    for (const folder of this.distinctFolders().flatMap(withInner))
      for (const pid of words(join(folder, "cgroup.procs"))) if (pid !== "") pids.add(Number(pid));
    return [...pids];
  }

  /** Kills the members: all at once where the kernel can, else those of this moment (again, while there are any). */
  kill(): void {
    for (const folder of this.distinctFolders()) {
      const all = join(folder, "cgroup.kill");
      if (existsSync(all)) write(all, "1");
    }
    for (const pid of this.members()) kill(pid, "SIGKILL");
  }

  /** Bounds memory, page cache included; null lifts the bound. Throws when it cannot be reclaimed down to it. */
  limitMemory(bytes: number | null): void {
    const { kind, folder } = this.at("memory");
    if (kind === "v1")
      write(join(folder, "memory.limit_in_bytes"), bytes === null ? "-1" : String(bytes));
    else write(join(folder, "memory.max"), bytes === null ? "max" : String(bytes));
  }

  /** Bounds CPU time to that many cores (not whole numbers too); null lifts the bound. */
  limitCpus(cpus: number | null): void {
    const { kind, folder } = this.at("cpu");
    const quota = cpus === null ? null : Math.round(cpus * cpuPeriod);
    if (kind === "v1") write(join(folder, "cpu.cfs_quota_us"), String(quota ?? -1));
    else write(join(folder, "cpu.max"), `${quota ?? "max"} ${cpuPeriod}`);
  }

  /** Bounds reads from a block device (`major:minor`, see blockDeviceOf); null lifts both bounds. */
  limitReads(
    device: string,
    limit: { readonly bytesPerSecond?: number; readonly operationsPerSecond?: number } | null,
  ): void {
    const { kind, folder } = this.at("io");
    const bytes = limit?.bytesPerSecond;
    const operations = limit?.operationsPerSecond;
    if (kind === "v2") {
      write(
        join(folder, "io.max"),
        `${device} rbps=${bytes ?? "max"} riops=${operations ?? "max"}`,
      );
      return;
    }
    write(join(folder, "blkio.throttle.read_bps_device"), `${device} ${bytes ?? 0}`);
    write(join(folder, "blkio.throttle.read_iops_device"), `${device} ${operations ?? 0}`);
  }

  memory(): GroupMemory {
    const { kind, folder } = this.at("memory");
    const number = (file: string): number => Number(readFileSync(join(folder, file), "utf8"));
    const limit = number(kind === "v1" ? "memory.limit_in_bytes" : "memory.max");
    const stat = readFileSync(join(folder, "memory.stat"), "utf8");
    const field = kind === "v1" ? /^cache (\d+)$/m : /^file (\d+)$/m;
    return {
      usedBytes: number(kind === "v1" ? "memory.usage_in_bytes" : "memory.current"),
      cacheBytes: Number(field.exec(stat)?.[1] ?? 0),
      // v1 writes "no limit" as the largest multiple of a page, v2 as "max".
      limitBytes: limit < 2 ** 60 ? limit : null,
    };
  }

  /** What was read from the device so far; v1 counts only while a bound on reads is set. */
  reads(device: string): GroupReads {
    const { kind, folder } = this.at("io");
    if (kind === "v2") {
      const line = readFileSync(join(folder, "io.stat"), "utf8")
        .split("\n")
        .find((l) => l.startsWith(`${device} `));
      const field = (name: string): number =>
        Number(new RegExp(`\\b${name}=(\\d+)`).exec(line ?? "")?.[1] ?? 0);
      return { bytes: field("rbytes"), operations: field("rios") };
    }
    const field = (file: string): number => {
      const text = readFileSync(join(folder, file), "utf8");
      return Number(new RegExp(`^${device} Read (\\d+)$`, "m").exec(text)?.[1] ?? 0);
    };
    return {
      bytes: field("blkio.throttle.io_service_bytes"),
      operations: field("blkio.throttle.io_serviced"),
    };
  }

  [Symbol.dispose](): void {
    if (!this.open) return;
    this.open = false;
    for (const folder of this.distinctFolders().flatMap(withInner)) {
      // A group with members cannot be removed; its parent takes them (under v2 only a root or leaf can: see parents).
      for (const pid of words(join(folder, "cgroup.procs")))
        if (pid !== "") ignore(() => write(join(folder, "../cgroup.procs"), pid));
      ignore(() => rmdirSync(folder));
    }
  }

  private distinctFolders(): readonly string[] {
    return [...new Set([...this.folders.values()].map(({ folder }) => folder))];
  }

  private at(controller: Controller): Parent {
    const place = this.folders.get(controller);
    if (place === undefined || !this.open)
      throw new InvariantError(`the group ${this.name} has no controller ${controller}`);
    return place;
  }
}

/** The folder of a group and of those inside it, the innermost first. */
function withInner(folder: string): readonly string[] {
  let inner: readonly string[] = [];
  try {
    inner = readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => withInner(join(folder, name)));
  } catch {
    // It has gone meanwhile.
  }
  return [...inner, folder];
}

function makeFolder(name: string, controller: Controller, places: readonly Parent[]): Parent {
  let reason = "no hierarchy with it is mounted";
  for (const { kind, folder } of places)
    try {
      const children = join(folder, "cgroup.subtree_control");
      if (kind === "v2" && !words(children).includes(controller)) write(children, `+${controller}`);
      const made = join(folder, name);
      mkdirSync(made, { recursive: true });
      return { kind, folder: made };
    } catch (error) {
      reason = (error as Error).message;
    }
  throw new MillraceError(
    "ENVIRONMENT_MISSING",
    `the cgroup controller ${controller} cannot be used: ${reason}`,
    { hint: "run as root, or in a group that is delegated to this user" },
  );
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new MillraceError("SYSTEM_CALL_FAILED", `${path} did not take ${JSON.stringify(text)}`, {
      cause,
      hint: "the kernel log says why; limits below what is in use are refused",
    });
  }
}

function ignore(action: () => void): void {
  try {
    action();
  } catch {
    // Gone, or about to be: there is nothing left to clean.
  }
}

/** `major:minor` of the whole block device that holds a path, as bounds on reads want it; null when it is on none. */
export function blockDeviceOf(path: string): string | null {
  const { dev } = statSync(path);
  const major = ((dev >>> 8) & 0xfff) | (Math.floor(dev / 2 ** 32) & ~0xfff);
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
  const folder = `/sys/dev/block/${major}:${minor}`;
  if (!existsSync(folder)) return null;
  // A partition has its disk above it.
  const disk = existsSync(join(folder, "partition")) ? "../dev" : "dev";
  return readFileSync(join(folder, disk), "utf8").trim();
}
