/**
 * Jobs under Slurm, through its own programs. A job is a batch job that is held; a start writes cores, memory and node into
 * it and lets it go, a stop puts it back into the queue, held (requeue). Slurm cannot change a running job, so another
 * grant is a restart. The kill grace is Slurm's KillWait, the same for all jobs.
 */
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { InvariantError } from "@millrace/core";
import { makeFolder } from "@millrace/core/node";
import type { ServerState } from "../../contracts.ts";
import type { EngineTerms } from "../engine.ts";
import { FolderFence } from "../fence.ts";
import type {
  GrantedSlice,
  HeldSlice,
  Observed,
  Outcome,
  Resized,
  Runner,
  RunnerJob,
  StartOrder,
} from "../runner.ts";
import { type SlurmCommands, slurmCommands } from "./commands.ts";
import { commentOf, type QueuedJob, readNodes, readQueue } from "./queue.ts";
import { type JobRecords, type SlurmOrder, SlurmRecords } from "./records.ts";

export interface SlurmRunnerOptions {
  /** Folder of the records, on a file system that the nodes see; made when absent. */
  readonly state: string;
  /** Marks the jobs in Slurm's queue; a-z, 0-9 and dashes. */
  readonly cluster: string;
  /** Null: Slurm's default. Its nodes should be for Millrace alone: others' jobs are not in plans. */
  readonly partition: string | null;
  /** SLURM_CONF for the programs; null: the system's. */
  readonly conf: string | null;
  /** How often the queue is looked at, soon after an order and otherwise; default 0.15 s and 1 s. */
  readonly pollSeconds?: { readonly busy: number; readonly idle: number };
}

export class SlurmRunner implements Runner {
  readonly name = "slurm";
  readonly resizes = false;
  readonly spans = true;
  readonly engine: EngineTerms;
  private readonly options: SlurmRunnerOptions;
  private readonly commands: SlurmCommands;
  private readonly records: SlurmRecords;
  private readonly fence: FolderFence;
  private tookOver = false;
  private busy = false;

  constructor(options: SlurmRunnerOptions) {
    this.options = options;
    const { cluster, partition, conf } = options;
    this.engine = { on: "slurm", cluster, partition, conf };
    this.commands = slurmCommands(options.conf);
    this.records = new SlurmRecords(options.state);
    this.fence = new FolderFence(options.state);
  }

  /** Kept for this folder; Slurm itself knows no fence, so two folders with one cluster's name are not told apart. */
  async takeOver(fence: number, signal?: AbortSignal): Promise<void> {
    await this.fence.raise(fence, signal);
    this.tookOver = true;
  }

  servers(signal?: AbortSignal): Promise<readonly ServerState[]> {
    return readNodes(this.commands, this.options.partition, signal);
  }

  async observe(signal?: AbortSignal): Promise<readonly Observed[]> {
    const queue = await readQueue(this.commands, this.options.cluster, signal);
    const seen: Observed[] = [];
    this.busy = false;
    for (const id of this.records.ids()) {
      const records = this.records.read(id);
      if (records === null) continue;
      const queued = queue.filter((job) => job.id === id);
      const observed = await this.look(id, records, queued, signal);
      const over = observed.phase === "held" || observed.phase === "ended";
      if (!over && observed.phase !== "running") this.busy = true;
      if (!records.removed) seen.push(observed);
      else if (!over) seen.push({ ...observed, phase: "stopping" });
      else if (this.tookOver && queued.every((job) => isOver(job))) this.records.forget(id);
      else if (this.tookOver) await this.cancel(id, queued, signal);
    }
    return seen;
  }

  submit(job: RunnerJob, signal?: AbortSignal): Promise<void> {
    return this.fence.hold(async () => {
      if (this.records.read(job.id) !== null) return;
      this.records.add(job);
      // A crash after sbatch leaves a held job with our mark: it is taken then instead of a second one.
      if ((await this.waiting(job.id, signal)) === null)
        await this.enqueue(job, { nodes: 1, gpus: job.gpus }, signal);
    });
  }

  start({ id, attempt, slices }: StartOrder, signal?: AbortSignal): Promise<void> {
    return this.fence.hold(async () => {
      const records = this.records.read(id);
      if (records === null) throw new InvariantError(`job ${id} was not submitted`);
      const shape = shapeOf(id, slices);
      const { job, order } = records;
      if (order !== null && attempt < order.attempt) return;
      let waiting = await this.waiting(id, signal);
      // Ordered before: only what was not let go yet is repeated.
      if (order?.attempt === attempt && !isUnfinished(order, waiting)) return;
      // Nodes and GPUs per node of a job are fixed when it is submitted.
      if (waiting !== null && (waiting.nodeCount !== shape.nodes || waiting.gpus !== shape.gpus)) {
        await this.cancel(id, [waiting], signal);
        waiting = null;
      }
      if (waiting === null) {
        await this.enqueue(job, shape, signal);
        waiting = await this.waiting(id, signal);
      }
      if (waiting === null) throw new InvariantError(`job ${id} is not in the queue after sbatch`);
      const { jobId, restarts } = waiting;
      this.records.order(id, { attempt, jobId, restarts, slices, stop: false });
      this.busy = true;
      const { cpus, hostBytes } = shape;
      await this.scontrol(
        `starting job ${id}`,
        [
          "update",
          `JobId=${jobId}`,
          `NumCPUs=${cpus * shape.nodes}`,
          `CPUsPerTask=${cpus}`,
          `MinMemoryNode=${Math.max(1, Math.floor(hostBytes / 2 ** 20))}`,
          `ReqNodeList=${slices.map(({ server }) => server).join(",")}`,
          // After a requeue Slurm would wait for two minutes.
          "StartTime=now",
          `Comment=${commentOf(this.options.cluster, id, attempt)}`,
        ],
        signal,
      );
      await this.scontrol(`starting job ${id}`, ["release", jobId], signal);
    });
  }

  async resize(): Promise<Resized> {
    return "refused";
  }

  stop(id: string, attempt: number, signal?: AbortSignal): Promise<void> {
    return this.fence.hold(async () => {
      const order = this.records.read(id)?.order ?? null;
      if (order === null || order.attempt !== attempt) return;
      const queue = await readQueue(this.commands, this.options.cluster, signal);
      const queued = queue.find((job) => job.jobId === order.jobId);
      if (queued === undefined || isOver(queued) || queued.restarts > order.restarts) return;
      if (!order.stop) this.records.order(id, { ...order, stop: true });
      this.busy = true;
      const verb = queued.state === "PENDING" ? "hold" : "requeuehold";
      await this.scontrol(`stopping job ${id}`, [verb, order.jobId], signal);
    });
  }

  remove(id: string, signal?: AbortSignal): Promise<void> {
    return this.fence.hold(async () => {
      if (this.records.read(id) === null) return;
      this.records.markRemoved(id);
      this.busy = true;
      const queue = await readQueue(this.commands, this.options.cluster, signal);
      await this.cancel(
        id,
        queue.filter((job) => job.id === id),
        signal,
      );
    });
  }

  async changed(signal: AbortSignal): Promise<void> {
    const { busy, idle } = this.options.pollSeconds ?? { busy: 0.15, idle: 1 };
    await sleep((this.busy ? busy : idle) * 1000, undefined, { signal }).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  private async look(
    id: string,
    { order }: JobRecords,
    queued: readonly QueuedJob[],
    signal?: AbortSignal,
  ): Promise<Observed> {
    const nothing = { id, held: [], outcome: null, cpuSeconds: null };
    if (order === null) return { ...nothing, attempt: 0, phase: "held" };
    const { attempt } = order;
    const job = queued.find(({ jobId }) => jobId === order.jobId);
    const ended = (outcome: Outcome): Observed => ({
      ...nothing,
      attempt,
      phase: "ended",
      outcome,
    });
    if (job === undefined || isOver(job)) return ended(this.outcomeOf(id, order, job));
    const held = heldBy(job, order);
    if (job.state === "PENDING" && job.restarts > order.restarts) {
      // Put back by us, or by Slurm when its node failed: then it must not start again by itself.
      if (!job.isHeld && this.tookOver)
        await this.scontrol(`holding job ${id}`, ["hold", job.jobId], signal);
      return ended(
        order.stop
          ? stopped(this.records.exitCode(id, order))
          : { kind: "lost", reason: "Slurm put it back into the queue: its node failed" },
      );
    }
    if (job.state === "PENDING" && job.isHeld && order.stop) return ended(stopped(null));
    if (job.state === "PENDING" || job.state === "CONFIGURING")
      return { ...nothing, attempt, phase: "starting", held };
    const stopping = order.stop || job.state === "COMPLETING";
    return { ...nothing, attempt, phase: stopping ? "stopping" : "running", held };
  }

  private outcomeOf(id: string, order: SlurmOrder, job: QueuedJob | undefined): Outcome {
    if (job?.state === "NODE_FAIL" || job?.state === "BOOT_FAIL")
      return { kind: "lost", reason: `Slurm said ${job.state}` };
    const code = this.records.exitCode(id, order);
    if (code !== null) return { kind: "exited", code };
    if (job === undefined) return { kind: "lost", reason: "Slurm does not know it any more" };
    if (job.state === "COMPLETED") return { kind: "exited", code: 0 };
    if (job.state === "FAILED" && job.exitCode > 0) return { kind: "exited", code: job.exitCode };
    return { kind: "killed", signal: `by Slurm: ${job.state}` };
  }

  /** The job in Slurm's queue that can be let go; the first when a crash made two, the others are cancelled. */
  private async waiting(id: string, signal?: AbortSignal): Promise<QueuedJob | null> {
    const queue = await readQueue(this.commands, this.options.cluster, signal);
    const held = queue
      .filter((job) => job.id === id && job.isHeld)
      .sort((a, b) => Number(a.jobId) - Number(b.jobId));
    await this.cancel(id, held.slice(1), signal);
    return held[0] ?? null;
  }

  private async enqueue(
    job: RunnerJob,
    { nodes, gpus }: Pick<Shape, "nodes" | "gpus">,
    signal?: AbortSignal,
  ): Promise<void> {
    const { cluster, partition } = this.options;
    const { user } = job;
    const own = user === null || user.uid === process.getuid?.();
    if (own) makeFolder(dirname(job.logFile));
    await this.commands.run(
      `submitting job ${job.id}`,
      "sbatch",
      [
        "--hold",
        "--parsable",
        "--requeue",
        `--job-name=${job.id}`,
        `--comment=${commentOf(cluster, job.id, 0)}`,
        "--open-mode=append",
        // A percent sign would start one of Slurm's own patterns.
        `--output=${job.logFile.replaceAll("%", "%%")}`,
        `--chdir=${job.directory}`,
        `--nodes=${nodes}`,
        `--ntasks=${nodes}`,
        "--ntasks-per-node=1",
        "--cpus-per-task=1",
        "--mem=1M",
        `--gres=gpu:${gpus}`,
        "--export=ALL",
        ...(partition === null ? [] : [`--partition=${partition}`]),
        ...(own ? [] : [`--uid=${user.uid}`, `--gid=${user.gid}`]),
        this.records.script,
        ...job.argv,
      ],
      signal,
      {
        ...(own ? ownEnvironment() : { USER: user.name, LOGNAME: user.name }),
        MILLRACE_JOB: job.id,
        MILLRACE_EXITS: this.records.exitsFile(job.id),
        ...job.environment,
      },
    );
  }

  private async cancel(
    id: string,
    queued: readonly QueuedJob[],
    signal?: AbortSignal,
  ): Promise<void> {
    const ids = queued.filter((job) => !isOver(job)).map(({ jobId }) => jobId);
    if (ids.length > 0) await this.commands.run(`cancelling job ${id}`, "scancel", ids, signal);
  }

  private async scontrol(
    what: string,
    args: readonly string[],
    signal?: AbortSignal,
  ): Promise<void> {
    await this.commands.run(what, "scontrol", args, signal);
  }
}

/** Ordered, and not let go: the scheduler ended between the two. */
function isUnfinished(order: SlurmOrder, waiting: QueuedJob | null): boolean {
  return (
    !order.stop &&
    waiting !== null &&
    waiting.jobId === order.jobId &&
    waiting.restarts === order.restarts
  );
}

const live = new Set(["PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED"]);

function isOver({ state }: QueuedJob): boolean {
  return !live.has(state) && !/^(RE|SIGNAL|STAGE)/.test(state);
}

function stopped(code: number | null): Outcome {
  return code === null ? { kind: "killed", signal: "SIGTERM" } : { kind: "exited", code };
}

/** While it waits for its start the queue names no node; it is those that were ordered. */
function heldBy(job: QueuedJob, order: SlurmOrder): readonly HeldSlice[] {
  const { cpus, hostBytes, gpus } = job;
  const nodes = job.nodes.length > 0 ? job.nodes : order.slices.map(({ server }) => server);
  return nodes.map((server) => ({ server, gpus, cpus: cpus / nodes.length, hostBytes }));
}

/** What every node of a start gives. */
interface Shape {
  readonly nodes: number;
  readonly gpus: number;
  readonly cpus: number;
  readonly hostBytes: number;
}

/** Slurm gives every node of a job the same, and whole cores: rounded down, so that a server's jobs fit. */
function shapeOf(id: string, slices: readonly GrantedSlice[]): Shape {
  const [first] = slices;
  if (first === undefined) throw new InvariantError(`job ${id} has no slices`);
  const gpus = first.gpus.length;
  if (slices.some((slice) => slice.gpus.length !== gpus))
    throw new InvariantError(`job ${id} has nodes with different numbers of GPUs`);
  const cpus = Math.min(...slices.map((slice) => slice.cpus));
  return {
    nodes: slices.length,
    gpus,
    cpus: Math.max(1, Math.floor(cpus + 1e-9)),
    hostBytes: Math.min(...slices.map((slice) => slice.hostBytes)),
  };
}

function ownEnvironment(): Record<string, string> {
  const own: Record<string, string> = {};
  // Of a Slurm job that the scheduler may itself run in.
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined && !name.startsWith("SLURM") && !name.startsWith("SBATCH"))
      own[name] = value;
  return own;
}
