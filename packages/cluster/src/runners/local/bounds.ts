/**
 * How CPUs and memory of a job's processes are bounded: a cgroup (v2, or v1), or a set of cores. Both change while the job
 * runs. A cgroup also holds every process that a job ever starts; with cores alone a session does that.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import {
  ControlGroup,
  groupSystem,
  kill,
  type ProcessStat,
  processesOfSessions,
  processStat,
  ticksPerSecond,
} from "@millrace/system";
import type { AttemptGrant } from "./records.ts";

/** How jobs are bounded. */
export type BoundKind = "cgroup" | "taskset";

/** Bounds of all jobs of a runner. `name` names an attempt. */
export interface Bounds {
  readonly kind: BoundKind;
  /** Whether host memory is bounded too. */
  readonly memory: boolean;
  /** Where groups are made: below those of the scheduler that starts a job. A later one need not be there. */
  place(): string;
  /** The bounds of jobs that were started at that place. */
  at(place: string): Bounds;
  /** Words that go before a program so that it starts inside. */
  prefix(grant: AttemptGrant): readonly string[];
  /** Puts a process and all that it starts under the grant. */
  enter(name: string, grant: AttemptGrant, pid: number): void;
  /** Changes the grant of what runs; false when it cannot be done in place. */
  change(name: string, grant: AttemptGrant, session: number): boolean;
  /** Processes of the attempt now, by the session of its program. */
  members(name: string, session: number): readonly ProcessStat[];
  /** Kills what is left; true when nothing is any more and what belongs to the attempt was given up. */
  end(name: string, session: number): boolean;
}

/** What this machine offers: cgroups where they may be made. */
export function offeredBounds(): BoundKind {
  try {
    using group = ControlGroup.make(`millrace-probe-${process.pid}`, ["cpu"]);
    void group;
    return "cgroup";
  } catch (error) {
    if (error instanceof MillraceError) return "taskset";
    throw error;
  }
}

/** Makes the bounds. Throws MillraceError ENVIRONMENT_MISSING when cgroups are asked for and cannot be made. */
export function makeBounds(kind: BoundKind, coresPerCpu = 1): Bounds {
  return kind === "cgroup" ? cgroupBounds(coresPerCpu) : tasksetBounds;
}

/** What may be bounded by groups. Throws when CPUs may not. */
function usableControllers(): readonly ("cpu" | "memory")[] {
  return (["cpu", "memory"] as const).filter((controller) => {
    try {
      using group = ControlGroup.make(`millrace-probe-${process.pid}`, [controller]);
      void group;
      return true;
    } catch (error) {
      if (controller === "cpu") throw error;
      return false;
    }
  });
}

function cgroupBounds(
  coresPerCpu: number,
  controllers = usableControllers(),
  place?: string,
): Bounds {
  const memory = controllers.includes("memory");
  // A group of this name is opened when it is there: that is how a later scheduler comes by it.
  const open = (name: string): ControlGroup =>
    ControlGroup.make(name, controllers, groupSystem(place));
  const apply = (group: ControlGroup, { slice }: AttemptGrant): void => {
    group.limitCpus(slice.cpus * coresPerCpu);
    if (memory) group.limitMemory(slice.hostBytes);
  };
  const members = (name: string): readonly ProcessStat[] =>
    open(name)
      .members()
      .map((pid) => processStat(pid))
      .filter((stat) => stat !== null);
  return {
    kind: "cgroup",
    memory,
    place: () => groupSystem(place).cgroup,
    at: (other) => cgroupBounds(coresPerCpu, controllers, other),
    prefix: () => [],
    enter: (name, grant, pid) => {
      const group = open(name);
      apply(group, grant);
      group.add(pid);
    },
    change: (name, grant) => {
      try {
        apply(open(name), grant);
        return true;
      } catch (error) {
        // The kernel could not bring the memory below the new bound.
        if (error instanceof MillraceError && error.code === "SYSTEM_CALL_FAILED") return false;
        throw error;
      }
    },
    members,
    end: (name) => {
      const group = open(name);
      if (group.members().length === 0) {
        group[Symbol.dispose]();
        return true;
      }
      group.kill();
      return false;
    },
  };
}

const tasksetBounds: Bounds = {
  kind: "taskset",
  memory: false,
  place: () => "",
  at: () => tasksetBounds,
  prefix: ({ cores }) => ["taskset", "-c", (cores ?? []).join(",")],
  enter: () => {},
  change: (_, { cores }, session) => {
    for (const { pid } of membersOf(session))
      try {
        execFileSync("taskset", ["-a", "-p", "-c", (cores ?? []).join(","), String(pid)], {
          stdio: "ignore",
        });
      } catch {
        // It ended meanwhile; whoever it started was listed too, or inherits from one that was.
      }
    return true;
  },
  members: (_, session) => membersOf(session),
  end: (_, session) => {
    const left = membersOf(session);
    for (const { pid } of left) kill(pid, "SIGKILL");
    return left.length === 0;
  },
};

function membersOf(session: number): readonly ProcessStat[] {
  return processesOfSessions(new Set([session])).get(session) ?? [];
}

/** CPU seconds that these processes and the children they waited for have used. */
export function cpuSecondsOf(members: readonly ProcessStat[]): number {
  return members.reduce((sum, { cpuTicks }) => sum + cpuTicks, 0) / ticksPerSecond;
}

/** Cores that this process may run on. */
export function allowedCores(): readonly number[] {
  const text = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  const cores: number[] = [];
  for (const part of text?.[1]?.split(",") ?? []) {
    const [first = 0, last = first] = part.split("-").map(Number);
    for (let core = first; core <= last; core++) cores.push(core);
  }
  return cores;
}

/** GPUs of this machine by their device files; 0 where there are none. */
export function presentGpus(): number {
  return readdirSync("/dev").filter((name) => /^nvidia\d+$/.test(name)).length;
}
