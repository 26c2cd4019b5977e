/**
 * What the Slurm runner keeps in its folder, beside Slurm's queue: which Slurm job a start went to, and how programs ended,
 * since Slurm forgets a job minutes after its end. The folder is on a file system that all nodes see.
 */
import { appendFileSync, chownSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { makeFolder, writeFileAtomic } from "@millrace/core/node";
import type { GrantedSlice, JobUser, RunnerJob } from "../runner.ts";

/** The last start of a job. */
export interface SlurmOrder {
  readonly attempt: number;
  readonly jobId: string;
  /** Slurm's count of restarts when it was ordered: the run has this one. */
  readonly restarts: number;
  readonly slices: readonly GrantedSlice[];
  /** It was asked to stop. */
  readonly stop: boolean;
}

export interface JobRecords {
  readonly job: RunnerJob;
  readonly order: SlurmOrder | null;
  readonly removed: boolean;
}

/**
 * The batch script, the same for every job: the program and its arguments are the script's own, never part of its text. It
 * outlives the signal that ends the program, to write down how that ended. Since Slurm 22.05 srun takes no CPUs from the
 * job by itself.
 */
export const batchScript = `#!/bin/sh
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK" MILLRACE_CPUS="$SLURM_CPUS_PER_TASK" OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
trap : TERM INT HUP
"$@"
code=$?
echo "$SLURM_JOB_ID \${SLURM_RESTART_COUNT:-0} $code" >> "$MILLRACE_EXITS"
exit $code
`;

/** The runner's folder. */
export class SlurmRecords {
  private readonly state: string;

  constructor(state: string) {
    this.state = state;
    makeFolder(join(state, "jobs"), 0o711);
    writeFileAtomic(this.script, batchScript);
  }

  get script(): string {
    return join(this.state, "run.sh");
  }

  exitsFile(id: string): string {
    return join(this.state, "jobs", id, "exits");
  }

  ids(): readonly string[] {
    return readdirSync(join(this.state, "jobs")).filter((name) => !name.startsWith("."));
  }

  read(id: string): JobRecords | null {
    const job = this.json<RunnerJob>(id, "job.json");
    if (job === null) return null;
    return {
      job,
      order: this.json<SlurmOrder>(id, "order.json"),
      removed: this.json(id, "removed.json") !== null,
    };
  }

  add(job: RunnerJob): void {
    const folder = join(this.state, "jobs", job.id);
    makeFolder(folder, 0o711);
    appendFileSync(this.exitsFile(job.id), "");
    const user: JobUser | null = job.user;
    if (user !== null && process.getuid?.() === 0)
      chownSync(this.exitsFile(job.id), user.uid, user.gid);
    writeFileAtomic(join(folder, "job.json"), JSON.stringify(job));
  }

  order(id: string, order: SlurmOrder): void {
    writeFileAtomic(join(this.state, "jobs", id, "order.json"), JSON.stringify(order));
  }

  markRemoved(id: string): void {
    writeFileAtomic(join(this.state, "jobs", id, "removed.json"), "{}");
  }

  forget(id: string): void {
    rmSync(join(this.state, "jobs", id), { recursive: true, force: true });
  }

  /** Exit code of the order's run; null when its script wrote none. A run that Slurm itself repeated counts too. */
  exitCode(id: string, { jobId, restarts }: SlurmOrder): number | null {
    let code: number | null = null;
    for (const line of this.text(this.exitsFile(id)).split("\n")) {
      const [job, restart, value] = line.split(" ");
      if (job === jobId && Number(restart) >= restarts) code = Number(value);
    }
    return code;
  }

  private json<T>(id: string, name: string): T | null {
    const text = this.text(join(this.state, "jobs", id, name));
    return text === "" ? null : (JSON.parse(text) as T);
  }

  private text(path: string): string {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return "";
    }
  }
}
