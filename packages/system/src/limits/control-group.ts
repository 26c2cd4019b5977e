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

/** The system's files now; `cgroup` in place of this process's says where another one is or was. */
export function groupSystem(cgroup?: string): GroupSystem {
  return {
    cgroup: cgroup ?? readFileSync("/proc/self/cgroup", "utf8"),
    mountinfo: readFileSync("/proc/self/mountinfo", "utf8"),
  };
}

/** Where v1 keeps the controller: its groups nest below this process's. Null where v1 does not have it. */
function v1Parent(controller: Controller, system: GroupSystem): string | null {
  const name = v1Names[controller];
  const path = parseGroups(system.cgroup).get(name);
  const mount = parseMounts(system.mountinfo).find(
    ({ kind, controllers }) => kind === "v1" && controllers.includes(name),
  );
  if (path === undefined || mount === undefined) return null;
  return groupFolders(mount, path)[0] as string;
}

/** Folders of v2 that offer all of the controllers, innermost first. */
function v2Parents(controllers: readonly Controller[], system: GroupSystem): readonly string[] {
  const path = parseGroups(system.cgroup).get("");
  const mount = parseMounts(system.mountinfo).find(({ kind }) => kind === "v2");
  if (path === undefined || mount === undefined) return [];
  return groupFolders(mount, path).filter((folder) => {
    const offered = words(join(folder, "cgroup.controllers"));
    return controllers.every((controller) => offered.includes(controller));
  });
}

function words(path: string): readonly string[] {
  return existsSync(path) ? readFileSync(path, "utf8").trim().split(/\s+/) : [];
}

/** Which interface offers each controller to this process; whether it may be used shows when a group is made. */
export function controllersOffered(
  system: GroupSystem = groupSystem(),
): Readonly<Record<Controller, "v1" | "v2" | null>> {
  const of = (controller: Controller) => {
    if (v1Parent(controller, system) !== null) return "v1";
    return v2Parents([controller], system).length > 0 ? "v2" : null;
  };
  return { memory: of("memory"), cpu: of("cpu"), io: of("io") };
}

/** A group. Disposal moves what still runs in it back to where it came from and removes it. */
export class ControlGroup implements Disposable {
  readonly name: string;
  /** By controller; under null where a group of no controllers is. */
  private readonly folders: ReadonlyMap<Controller | null, Parent>;
  private open = true;

  private constructor(name: string, folders: ReadonlyMap<Controller | null, Parent>) {
    this.name = name;
    this.folders = folders;
  }

  /**
   * Makes a group with the controllers, or opens the one of that name; with none it only holds processes, which needs v2.
   * Throws MillraceError ENVIRONMENT_MISSING that says what stands in the way.
   */
  static make(
    name: string,
    controllers: readonly Controller[],
    system: GroupSystem = groupSystem(),
  ): ControlGroup {
    if (!/^[\w.-]+$/.test(name)) throw new InvariantError(`a group called ${name}`);
    const folders = new Map<Controller | null, Parent>();
    const group = new ControlGroup(name, folders);
    const unified: Controller[] = [];
    try {
      for (const controller of controllers) {
        const parent = v1Parent(controller, system);
        if (parent === null) {
          unified.push(controller);
          continue;
        }
        const folder = makeFolder(name, [controller], [{ kind: "v1", folder: parent }]);
        folders.set(controller, { kind: "v1", folder });
      }
      if (unified.length > 0 || controllers.length === 0) {
        // A process is in one group of v2: what bounds it there must all be bounded by that one.
        const above = v2Parents(unified, system).map((folder) => ({ kind: "v2" as const, folder }));
        const folder = makeFolder(name, unified, above);
        for (const controller of controllers.length === 0 ? [null] : unified)
          folders.set(controller, { kind: "v2", folder });
      }
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
    else limitMemoryV2(folder, bytes);
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

/** Makes the folder in the first of the parents that hands all of the controllers down. */
function makeFolder(
  name: string,
  controllers: readonly Controller[],
  above: readonly Parent[],
): string {
  let reason = "no hierarchy with it is mounted";
  for (const { kind, folder } of above)
    try {
      if (kind === "v2") {
        const children = join(folder, "cgroup.subtree_control");
        const missing = controllers.filter((one) => !words(children).includes(one));
        if (missing.length > 0) write(children, missing.map((one) => `+${one}`).join(" "));
      }
      const made = join(folder, name);
      mkdirSync(made, { recursive: true });
      return made;
    } catch (error) {
      reason = (error as Error).message;
    }
  const what =
    controllers.length === 0
      ? "cgroups of v2 cannot be made"
      : `the cgroup controller ${controllers.join(" with ")} cannot be used`;
  throw new MillraceError("ENVIRONMENT_MISSING", `${what}: ${reason}`, {
    hint: "run as root, or in a group that is delegated to this user",
  });
}

/**
 * A bound below what is in use makes v1 refuse and v2 kill processes of the group. So under v2 `memory.high` goes first,
 * which reclaims and never kills, and the bound follows once the use is below it.
 */
function limitMemoryV2(folder: string, bytes: number | null): void {
  const high = join(folder, "memory.high");
  const used = (): number => Number(readFileSync(join(folder, "memory.current"), "utf8"));
  if (bytes !== null && used() > bytes)
    try {
      write(high, String(bytes));
      const left = used();
      if (left > bytes)
        throw new MillraceError(
          "SYSTEM_CALL_FAILED",
          `${folder}: memory cannot be bounded to ${bytes} bytes: ${left} stay in use`,
          { hint: "give the group more, or end what runs in it" },
        );
      write(join(folder, "memory.max"), String(bytes));
    } finally {
      write(high, "max");
    }
  else write(join(folder, "memory.max"), bytes === null ? "max" : String(bytes));
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
