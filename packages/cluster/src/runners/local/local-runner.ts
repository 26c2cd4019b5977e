/**
 * Jobs as processes of this machine. The machine may count as several servers, each with a part of its GPUs, cores and
 * memory. Nothing is kept in this process that matters: records on disk (records.ts), processes known by number and start
 * time, and keepers that outlive the scheduler.
 */
import { chownSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { InvariantError, MillraceError } from "@millrace/core";
import { makeFolder } from "@millrace/core/node";
import { isRunning, kill, type ProcessIdentity, signalProcess } from "@millrace/system";
import type { NumaNode, ServerState } from "../../contracts.ts";
import type { EngineTerms } from "../engine.ts";
import { FolderFence } from "../fence.ts";
import type {
  GrantedSlice,
  Observed,
  Outcome,
  Phase,
  Resized,
  Runner,
  RunnerJob,
  StartOrder,
} from "../runner.ts";
import { allowedCores, type BoundKind, type Bounds, cpuSecondsOf, makeBounds } from "./bounds.ts";
import { programEnvironment } from "./environment.ts";
import {
  type AttemptGrant,
  type AttemptRecords,
  attemptFolder,
  claimAttempt,
  jobFolder,
  jobIds,
  lastAttempt,
  makeAttempt,
  nobody,
  readAttempt,
  readRecord,
  writeRecord,
} from "./records.ts";
import { startKeeper } from "./start-keeper.ts";

/** A part of this machine that counts as a server. */
export interface LocalServer {
  readonly name: string;
  readonly gpus: number;
  readonly cpus: number;
  readonly hostBytes: number;
  readonly numa?: readonly NumaNode[];
}

export interface LocalRunnerOptions {
  /** Folder of the records; made when absent. */
  readonly state: string;
  /** Names the control groups; a-z, 0-9 and dashes. */
  readonly cluster: string;
  readonly servers: readonly LocalServer[];
  readonly bound: BoundKind;
  /** Cores that a CPU of plans is, default 1; a part of one lets a small machine be shared out finely. Under cgroups only. */
  readonly coresPerCpu?: number;
}

/** How often running jobs are looked at, ms: soon after an order, seldom otherwise. */
const pollMs = { busy: 40, idle: 400 } as const;

export class LocalRunner implements Runner {
  readonly name = "local";
  readonly resizes = true;
  readonly spans = false;
  readonly engine: EngineTerms;
  private readonly options: LocalRunnerOptions;
  private readonly bounds: Bounds;
  private readonly fence: FolderFence;
  private readonly cores: readonly number[];
  /** Attempts whose keeper this process has not told to begin yet. */
  private readonly beginning = new Set<string>();
  private readonly tidied = new Set<string>();
  private tookOver = false;
  private busy = false;
  private readonly wakes = new Set<() => void>();

  constructor(options: LocalRunnerOptions) {
    this.options = options;
    const { cluster, servers, bound } = options;
    this.engine = { on: "local", host: hostname(), cluster, servers, bound };
    makeFolder(join(options.state, "jobs"), 0o711);
    this.bounds = makeBounds(options.bound, options.coresPerCpu);
    this.fence = new FolderFence(options.state);
    this.cores = allowedCores();
  }

  /** Kept for this folder: orders of an earlier scheduler that still runs are refused. */
  async takeOver(fence: number, signal?: AbortSignal): Promise<void> {
    await this.fence.raise(fence, signal);
    this.tookOver = true;
  }

  async servers(): Promise<readonly ServerState[]> {
    return this.options.servers.map(({ numa = [], ...server }) => ({
      ...server,
      condition: "up" as const,
      numa,
    }));
  }

  async observe(): Promise<readonly Observed[]> {
    const { state } = this.options;
    const seen: Observed[] = [];
    this.busy = false;
    for (const id of jobIds(state)) {
      const observed = this.look(id);
      if (observed.phase === "starting" || observed.phase === "stopping") this.busy = true;
      const over = observed.phase === "held" || observed.phase === "ended";
      if (over && readRecord(jobFolder(state, id), "removed") !== null) this.forget(id);
      else seen.push(observed);
    }
    return seen;
  }

  submit(job: RunnerJob): Promise<void> {
    return this.fence.hold(async () => {
      const { state } = this.options;
      const folder = jobFolder(state, job.id);
      if (readRecord(folder, "job.json") !== null) return;
      // A folder appears with its job in it.
      const temporary = join(state, `.job.${process.pid}.${job.id}`);
      rmSync(temporary, { recursive: true, force: true });
      mkdirSync(temporary, { mode: 0o711 });
      writeRecord(temporary, "job.json", job);
      renameSync(temporary, folder);
    });
  }

  start({ id, attempt, slices }: StartOrder, signal?: AbortSignal): Promise<void> {
    return this.fence.hold(async () => {
      const { state } = this.options;
      const job = this.known(id);
      const slice = this.only(id, slices);
      if (attempt <= lastAttempt(state, id) || !makeAttempt(state, id, attempt)) return;
      const folder = attemptFolder(state, id, attempt);
      const grant = { slice, cores: this.chooseCores(slice, null) };
      const cpus = slice.cpus * (this.options.coresPerCpu ?? 1);
      const environment = programEnvironment(job, { ...slice, cpus }, attempt);
      const name = this.groupOf(id, attempt);
      // Not in the attempt's folder, which is its user's: root kills what is in the group.
      writeRecord(jobFolder(state, id), `group-${attempt}.json`, { place: this.bounds.place() });
      this.beginning.add(folder);
      this.busy = true;
      try {
        writeRecord(folder, "order.json", { job, environment, ...grant });
        if (job.user !== null && process.getuid?.() === 0) this.giveTo(folder, job);
        const keeper = await startKeeper({
          folder,
          user: job.user,
          prefix: this.bounds.prefix(grant),
          bound: (pid) => this.bounds.enter(name, grant, pid),
          signal,
        });
        keeper.once("exit", () => this.wake());
      } finally {
        this.beginning.delete(folder);
      }
    });
  }

  resize({ id, attempt, slices }: StartOrder): Promise<Resized> {
    return this.fence.hold(async () => {
      const { state } = this.options;
      const folder = attemptFolder(state, id, attempt);
      const { child, grant } = readAttempt(folder);
      const slice = this.only(id, slices);
      if (attempt !== lastAttempt(state, id) || child === null || grant === null) return "refused";
      if (slice.server !== grant.slice.server || !isRunning(child)) return "refused";
      const next: AttemptGrant = { slice, cores: this.chooseCores(slice, folder) };
      const name = this.groupOf(id, attempt);
      const bounds = this.boundsOf(id, attempt);
      if (!bounds.change(name, next, child.pid)) {
        bounds.change(name, grant, child.pid);
        return "refused";
      }
      writeRecord(folder, "grant.json", next);
      return "done";
    });
  }

  stop(id: string, attempt: number): Promise<void> {
    return this.fence.hold(async () => this.ask(id, attempt));
  }

  remove(id: string): Promise<void> {
    return this.fence.hold(async () => {
      const { state } = this.options;
      if (readRecord(jobFolder(state, id), "job.json") === null) return;
      writeRecord(jobFolder(state, id), "removed", {});
      this.ask(id, lastAttempt(state, id));
      this.busy = true;
    });
  }

  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.wakes.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, this.busy ? pollMs.busy : pollMs.idle);
      this.wakes.add(done);
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
    });
  }

  /** Keepers and jobs go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.wake();
  }

  private look(id: string): Observed {
    const { state } = this.options;
    const attempt = lastAttempt(state, id);
    const nothing = { id, attempt, held: [], outcome: null, cpuSeconds: null };
    if (attempt === 0) return { ...nothing, phase: "held" };
    const folder = attemptFolder(state, id, attempt);
    if (this.beginning.has(folder))
      return { ...nothing, phase: "starting", ...this.holding(folder) };
    const records = readAttempt(folder);
    const phase = this.phaseOf(folder, records, id, attempt);
    if (typeof phase !== "string") return { ...nothing, phase: "ended", outcome: phase };
    const members =
      records.child === null
        ? []
        : this.boundsOf(id, attempt).members(this.groupOf(id, attempt), records.child.pid);
    // Of the plan's CPUs, as grants are.
    const cpuSeconds = cpuSecondsOf(members) / (this.options.coresPerCpu ?? 1);
    return { ...nothing, phase, ...this.holding(folder), cpuSeconds };
  }

  /** The phase of an attempt that is on, or its outcome when it is over. */
  private phaseOf(
    folder: string,
    { claim, child, stop, exit, order }: AttemptRecords,
    id: string,
    attempt: number,
  ): Phase | Outcome {
    if (exit !== null) return this.tidy(folder, child, id, attempt) ? exit : "stopping";
    if (claim === null) {
      // Nobody keeps it yet: a keeper about to claim it, or one that was never started. Only the scheduler may decide.
      if (!this.tookOver || !claimAttempt(folder, nobody)) return "starting";
      return { kind: "lost", reason: "its scheduler ended before it was started" };
    }
    if ("nobody" in claim)
      return { kind: "lost", reason: "its scheduler ended before it was started" };
    if (isRunning(claim))
      return stop !== null ? "stopping" : child === null ? "starting" : "running";
    // The keeper is gone; it may have written how the program ended since the records were read.
    const written = readRecord<Outcome>(folder, "exit.json");
    if (written !== null) return written;
    if (child !== null && isRunning(child)) {
      const grace = order?.job.graceSeconds ?? 0;
      if (stop === null) return "running";
      if (Date.now() / 1000 > stop.at + grace) this.kill(child, order?.job ?? null);
      return "stopping";
    }
    return this.tidy(folder, child, id, attempt)
      ? { kind: "lost", reason: "its keeper was killed" }
      : "stopping";
  }

  /** Once an attempt is over: what it left behind goes. False while some of that still runs. */
  private tidy(
    folder: string,
    child: ProcessIdentity | null,
    id: string,
    attempt: number,
  ): boolean {
    if (!this.tookOver || this.tidied.has(folder)) return true;
    if (!this.boundsOf(id, attempt).end(this.groupOf(id, attempt), child?.pid ?? -1)) return false;
    this.tidied.add(folder);
    return true;
  }

  private holding(folder: string): Pick<Observed, "held"> {
    const grant = readAttempt(folder).grant;
    if (grant === null) return { held: [] };
    const { server, gpus, cpus, hostBytes } = grant.slice;
    const cores = this.bounds.kind === "taskset" ? wholeCores(cpus) : cpus;
    return { held: [{ server, gpus: gpus.length, cpus: cores, hostBytes }] };
  }

  /** Asks the attempt's keeper to stop it; without one, the program itself. */
  private ask(id: string, attempt: number): void {
    const { state } = this.options;
    if (attempt === 0 || attempt !== lastAttempt(state, id)) return;
    const folder = attemptFolder(state, id, attempt);
    const { claim, child, exit, stop, order } = readAttempt(folder);
    if (exit !== null) return;
    this.busy = true;
    if (stop === null) writeRecord(folder, "stop", { at: Date.now() / 1000 });
    const uid = order?.job.user?.uid ?? null;
    if (claim !== null && !("nobody" in claim) && signalProcess(claim, "SIGTERM", uid)) return;
    if (child !== null && isRunning(child)) signalProcess(child, "SIGTERM", uid);
  }

  /** Kills a program without a keeper, with its session. The records are its user's, so the kernel is asked whose it is. */
  private kill(child: ProcessIdentity, job: RunnerJob | null): void {
    if (signalProcess(child, "SIGKILL", job?.user?.uid ?? null)) kill(-child.pid, "SIGKILL");
  }

  private forget(id: string): void {
    if (!this.tookOver) return;
    const folder = jobFolder(this.options.state, id);
    const gone = join(this.options.state, `.gone.${process.pid}.${id}`);
    renameSync(folder, gone);
    rmSync(gone, { recursive: true, force: true });
  }

  private known(id: string): RunnerJob {
    const job = readRecord<RunnerJob>(jobFolder(this.options.state, id), "job.json");
    if (job === null) throw new InvariantError(`job ${id} was not submitted`);
    return job;
  }

  private only(id: string, slices: readonly GrantedSlice[]): GrantedSlice {
    const [slice] = slices;
    if (slice === undefined || slices.length > 1)
      throw new InvariantError(`job ${id} has ${slices.length} slices`);
    if (this.options.servers.some(({ name }) => name === slice.server)) return slice;
    throw new MillraceError("RUNNER_FAILED", `job ${id}: there is no server ${slice.server} here`);
  }

  /** The cores that fewest other jobs are pinned to; its own first when it has some. Null under a quota. */
  private chooseCores(slice: GrantedSlice, folder: string | null): readonly number[] | null {
    if (this.bounds.kind !== "taskset") return null;
    const { state, servers } = this.options;
    const taken = new Map<number, number>();
    for (const id of jobIds(state)) {
      const other = attemptFolder(state, id, lastAttempt(state, id));
      if (other === folder) continue;
      const { grant, exit } = readAttempt(other);
      if (exit !== null) continue;
      for (const core of grant?.cores ?? []) taken.set(core, (taken.get(core) ?? 0) + 1);
    }
    const mine = new Set(folder === null ? [] : readAttempt(folder).grant?.cores);
    const most = servers.find(({ name }) => name === slice.server)?.cpus ?? 1;
    const wanted = Math.min(wholeCores(slice.cpus), Math.ceil(most));
    const order = [...this.cores].sort(
      (a, b) =>
        (taken.get(a) ?? 0) - (taken.get(b) ?? 0) ||
        Number(mine.has(b)) - Number(mine.has(a)) ||
        a - b,
    );
    return order.slice(0, wanted).sort((a, b) => a - b);
  }

  /** The attempt's folder becomes its user's, who alone reads the lease's token in it. */
  private giveTo(folder: string, { user }: RunnerJob): void {
    if (user === null) return;
    writeFileSync(join(folder, "keeper.log"), "", { mode: 0o600, flag: "a" });
    for (const path of [folder, join(folder, "order.json"), join(folder, "keeper.log")])
      chownSync(path, user.uid, user.gid);
  }

  /** The bounds of an attempt, which another scheduler may have started at another place. */
  private boundsOf(id: string, attempt: number): Bounds {
    const folder = jobFolder(this.options.state, id);
    const kept = readRecord<{ place: string }>(folder, `group-${attempt}.json`);
    return kept === null ? this.bounds : this.bounds.at(kept.place);
  }

  private groupOf(id: string, attempt: number): string {
    return `millrace-${this.options.cluster}-${id}-${attempt}`;
  }

  private wake(): void {
    for (const wake of [...this.wakes]) wake();
  }
}

/** Cores can only be given whole. */
function wholeCores(cpus: number): number {
  return Math.max(1, Math.round(cpus));
}
