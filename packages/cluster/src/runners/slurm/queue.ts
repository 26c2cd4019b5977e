/** What squeue and sinfo print, as data. */
import type { ServerState } from "../../contracts.ts";
import type { SlurmCommands } from "./commands.ts";

/** A job in Slurm's queue. */
export interface QueuedJob {
  readonly jobId: string;
  /** Slurm's word, e.g. PENDING, RUNNING, COMPLETED. */
  readonly state: string;
  /** Waits for a release: nobody but us lets it go. */
  readonly isHeld: boolean;
  /** How often Slurm has put it back into the queue. */
  readonly restarts: number;
  readonly nodes: readonly string[];
  /** Nodes that it runs on, or will. */
  readonly nodeCount: number;
  /** Of all its nodes. */
  readonly cpus: number;
  /** Of each of its nodes. */
  readonly hostBytes: number;
  /** Of each of its nodes. */
  readonly gpus: number;
  readonly exitCode: number;
  /** Id of the job in our cluster, and the attempt that was ordered last; from its comment. */
  readonly id: string;
  readonly attempt: number;
}

const fields = [
  "JobID",
  "State",
  "PriorityLong",
  "RestartCnt",
  "NodeList",
  "NumNodes",
  "NumCPUs",
  "MinMemory",
  "tres-per-node",
  "exit_code",
  "Comment",
] as const;

/** The comment that marks a job as ours; shown by squeue -O Comment. */
export function commentOf(cluster: string, id: string, attempt: number): string {
  return `millrace:${cluster}:${id}:${attempt}`;
}

/** All jobs of the cluster that Slurm still knows. */
export async function readQueue(
  commands: SlurmCommands,
  cluster: string,
  signal?: AbortSignal,
): Promise<readonly QueuedJob[]> {
  const format = fields.map((field) => `${field}:|`).join(",");
  const text = await commands.run(
    "observing",
    "squeue",
    ["-h", "-a", "-t", "all", "-O", format],
    signal,
  );
  const jobs: QueuedJob[] = [];
  for (const line of text.split("\n")) {
    const parts = line.split("|").map((part) => part.trim());
    const [jobId = "", state = "", priority, restarts, nodes = "", ...more] = parts;
    const [nodeCount, cpus, memory, tres, code, mark] = more;
    const [maker, owner, id = "", attempt] = mark?.split(":") ?? [];
    if (maker !== "millrace" || owner !== cluster || id === "") continue;
    jobs.push({
      jobId,
      state,
      isHeld: state === "PENDING" && Number(priority) === 0,
      restarts: Number(restarts),
      nodes: nodeNames(nodes),
      nodeCount: Number(nodeCount),
      cpus: Number(cpus),
      hostBytes: memoryBytes(memory ?? ""),
      gpus: Number(/gpu(?::[^:,]+)?:(\d+)/.exec(tres ?? "")?.[1] ?? 0),
      exitCode: Number(code ?? 0) & 0xff || Number(code ?? 0) >> 8,
      id,
      attempt: Number(attempt),
    });
  }
  return jobs;
}

/** `n1`, `n[1-3,7]`, `a1,b[01-02]` to names. */
export function nodeNames(list: string): readonly string[] {
  const names: string[] = [];
  for (const [, prefix = "", ranges, suffix = ""] of list.matchAll(
    /([^,[\]]+)(?:\[([^\]]+)\]([^,[\]]*))?/g,
  )) {
    if (ranges === undefined) names.push(prefix);
    else
      for (const range of ranges.split(",")) {
        const [first = "", last = first] = range.split("-");
        for (let n = Number(first); n <= Number(last); n++)
          names.push(`${prefix}${String(n).padStart(first.length, "0")}${suffix}`);
      }
  }
  return names;
}

/** `125000M`, `1.5G` as Slurm writes sizes: binary units, MiB where none is written. */
function memoryBytes(text: string): number {
  const [, number, unit = "M"] = /^([\d.]+)([KMGTP]?)/.exec(text) ?? [];
  return Number(number ?? 0) * 1024 ** ("KMGTP".indexOf(unit === "" ? "M" : unit) + 1);
}

/** Nodes with GPUs as servers, by name; `partition` null: of all partitions. */
export async function readNodes(
  commands: SlurmCommands,
  partition: string | null,
  signal?: AbortSignal,
): Promise<readonly ServerState[]> {
  const text = await commands.run(
    "listing nodes",
    "sinfo",
    ["-h", "-N", "-o", "%N|%c|%m|%G|%T", ...(partition === null ? [] : ["-p", partition])],
    signal,
  );
  const servers = new Map<string, ServerState>();
  for (const line of text.split("\n")) {
    const [name = "", cpus, memory, gres = "", state = ""] = line.split("|");
    const gpus = [...gres.matchAll(/gpu(?::[^:,(]+)?:(\d+)/g)].reduce(
      (n, m) => n + Number(m[1]),
      0,
    );
    if (name === "" || gpus === 0) continue;
    servers.set(name, {
      name,
      gpus,
      cpus: Number(cpus),
      hostBytes: Number(memory) * 2 ** 20,
      condition: conditionOf(state),
      numa: [],
    });
  }
  return [...servers.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A star says that the node does not answer. */
function conditionOf(state: string): ServerState["condition"] {
  if (/\*$|down|fail|drained|power|unk|future|maint|reboot/i.test(state)) return "down";
  return /drain/i.test(state) ? "draining" : "up";
}
