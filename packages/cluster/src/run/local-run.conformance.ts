/** A folder in which tests run jobs on this machine under a scheduler; its jobs end with it. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LocalRunner, type LocalServer } from "../runners/local/local-runner.ts";
import type { Runner } from "../runners/runner.ts";
import type { CurveOfModel } from "./beliefs.ts";
import { runFiles } from "./charge.ts";
import { jobsFileSchema } from "./jobs-file.ts";
import { type JournalEvent, readJournal } from "./journal.ts";
import { type RunOptions, runCluster, statusFromJournal } from "./open-run.ts";
import type { ClusterStatus } from "./snapshot.ts";
import { type AbsentTerms, cancelWithoutScheduler } from "./without-scheduler.ts";

/** A job of a file, unchecked. */
export type FileJob = { readonly id: string; readonly command: readonly string[] } & Readonly<
  Record<string, unknown>
>;

/** Does nothing, until it is asked to stop. */
export const stay = "while :; do sleep 0.05; done";

export class LocalRun implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), "millrace-run-"));
  readonly folder = join(this.dir, "run");
  private readonly servers: readonly LocalServer[];

  constructor(servers: readonly LocalServer[]) {
    this.servers = servers;
  }

  /** Runner of a new scheduler. */
  readonly open = async (
    _: unknown = null,
    state = runFiles(this.folder).runner,
  ): Promise<Runner> => {
    const { servers } = this;
    return new LocalRunner({ state, cluster: `test-${process.pid}`, servers, bound: "taskset" });
  };

  /** Runs the jobs until all have ended, or until `leaves` holds: then they are left to themselves. */
  async run(
    jobs: readonly FileJob[],
    more: {
      readonly cluster?: object;
      readonly leaves?: (status: ClusterStatus) => boolean;
      readonly runner?: Runner;
      readonly models?: ReadonlyMap<string, CurveOfModel>;
      readonly note?: RunOptions["note"];
    } = {},
  ): Promise<ClusterStatus> {
    const path = join(this.dir, "jobs.json");
    const text = JSON.stringify({ cluster: { policy: "fifo", round: 0.2, ...more.cluster }, jobs });
    writeFileSync(path, text);
    const leave = new AbortController();
    const { status } = await runCluster({
      folder: this.folder,
      file: { path, content: jobsFileSchema.parse(JSON.parse(text)) },
      models: more.models ?? new Map(),
      runner: more.runner ?? (await this.open()),
      note: more.note ?? (() => {}),
      signal: leave.signal,
      onStatus: (now) => {
        if (more.leaves?.(now) === true) leave.abort();
      },
    });
    return status;
  }

  /** What commands without a scheduler are given. */
  absent(over: Partial<AbsentTerms> = {}): AbsentTerms {
    const { folder, open } = this;
    return { folder, open, note: () => {}, signal: new AbortController().signal, ...over };
  }

  /** A command that leaves a line in a file of its own at each start. */
  marking(id: string, then: string): string[] {
    return ["sh", "-c", `echo >> ${this.file(`${id}.mark`)}; ${then}`];
  }

  /** How often `marking` has started. */
  marks(id: string): number {
    return this.text(`${id}.mark`).length;
  }

  file(name: string): string {
    return join(this.dir, name);
  }

  /** A file's text; empty when there is none. */
  text(name: string): string {
    return existsSync(this.file(name)) ? readFileSync(this.file(name), "utf8") : "";
  }

  events(): readonly JournalEvent[] {
    return readJournal(runFiles(this.folder).journal).events;
  }

  /** States of the jobs by the journal. */
  states(): Readonly<Record<string, string>> {
    const jobs = statusFromJournal(this.folder)?.jobs ?? [];
    return Object.fromEntries(jobs.map((job) => [job.id, job.state]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const jobs = statusFromJournal(this.folder)?.jobs ?? [];
    const left = jobs.filter((job) => job.finishedAt === null).map(({ id }) => id);
    if (left.length > 0) await cancelWithoutScheduler(this.absent(), left);
    rmSync(this.dir, { recursive: true, maxRetries: 5 });
  }
}
