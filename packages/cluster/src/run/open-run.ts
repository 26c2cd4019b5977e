/** Puts a run together in its folder: lock, journal, leases, control socket, and the loop between a planner and a runner. */
import { setMaxListeners } from "node:events";
import { chmodSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { MillraceError } from "@millrace/core";
import { leaseVariables } from "@millrace/core/job";
import { LeaseServer, makeFolder } from "@millrace/core/node";
import { HighsSolver } from "@millrace/core/solver";
import { peerOf } from "@millrace/system";
import { opt } from "../allocator/opt/opt.ts";
import { allocators, type SyncAllocatorName } from "../allocator/registry.ts";
import type { PolicyName } from "../policy/policy.ts";
import type { Runner, RunnerJob } from "../runners/runner.ts";
import type { CurveOfModel } from "./beliefs.ts";
import { Charge, runFiles } from "./charge.ts";
import { type ControlReply, type ControlRequest, serveControl } from "./control.ts";
import type { JobsFile } from "./jobs-file.ts";
import { readJournal } from "./journal.ts";
import type { Arrival } from "./parts.ts";
import { type Desired, Planner } from "./planning.ts";
import { RunState } from "./run-state.ts";
import { Scheduler } from "./scheduler.ts";
import { type ClusterStatus, statusOf } from "./snapshot.ts";
import { submittersOf } from "./submitter.ts";
import { Tokens } from "./tokens.ts";

export interface RunOptions {
  /** The scheduler's folder; made when absent. */
  readonly folder: string;
  /** The jobs file as read, and its path; null: only what the journal holds. */
  readonly file: { readonly path: string; readonly content: JobsFile } | null;
  readonly models: ReadonlyMap<string, CurveOfModel>;
  readonly runner: Runner;
  readonly note: (text: string) => void;
  readonly onStatus?: (status: ClusterStatus) => void;
  readonly onPlan?: (desired: Desired) => void;
  readonly signal: AbortSignal;
  /** Unix seconds; the machine's clock by default. */
  readonly now?: () => number;
}

/** How a run ended, and where every job stands then. */
export interface RunOutcome {
  readonly ended: "finished" | "drained" | "left";
  readonly status: ClusterStatus;
}

/** Runs a cluster until its jobs have ended, it was drained, or the signal aborts. Throws SCHEDULER_FENCED when one runs already. */
export async function runCluster(options: RunOptions): Promise<RunOutcome> {
  const { folder, file, runner, signal, note } = options;
  const files = runFiles(folder);
  // One listener per order in flight is no leak.
  setMaxListeners(0, signal);
  const now = options.now ?? (() => Date.now() / 1000);
  using charge = new Charge(folder);
  const { state, write } = charge;
  await charge.takeOver(runner, now(), signal);
  const tokens = new Tokens(files.secret);
  const cluster = file?.content.cluster;
  const terms = cluster ?? null;
  const users = (id: string): number | null => state.jobs.get(id)?.job.user?.uid ?? null;
  let scheduler: Scheduler | null = null;
  const mixed = (file?.content.jobs ?? []).some((entry) => entry.user !== undefined);
  await using leases = await LeaseServer.listen({
    socket: files.lease,
    // Tokens and the kernel's word tell users apart; a scheduler of its own user needs no others.
    mode: process.getuid?.() === 0 || mixed ? 0o666 : 0o600,
    admit: (token) => {
      const job = tokens.job(token);
      return job === null || !state.jobs.has(job) ? null : { job, uid: users(job) };
    },
    peer: peerOf,
    report: (job, { step, ...report }) => scheduler?.reported(job, step, report),
    checkpointed: async (job, step, dir) => {
      if (scheduler === null) throw new MillraceError("LEASE_REFUSED", "the scheduler ends");
      scheduler.checkpointed(job, step, dir);
    },
  });
  const began = state.startedAt ?? now();
  const learnSeconds = terms?.learn ?? 0;
  const planner = new Planner({
    models: options.models,
    policy: (terms?.policy ?? "fifo") as PolicyName,
    allocate:
      terms?.allocator === "opt"
        ? opt(new HighsSolver())
        : allocators[(terms?.allocator ?? "waterfill") as SyncAllocatorName]("consolidate"),
    tenants: terms?.tenants ?? [],
    starvationSeconds: terms?.starvation ?? 4 * 3600,
    spans: runner.spans,
    resizes: runner.resizes,
    learnSeconds,
  });
  scheduler = new Scheduler({
    runner,
    planner,
    leases,
    state,
    write,
    now,
    arrivals: file === null ? [] : arrivalsOf(file, files, tokens, began),
    roundSeconds: terms?.round ?? 60,
    decisions: terms?.decisions ?? "events",
    learnSeconds,
    note,
    ...(options.onStatus === undefined ? {} : { onStatus: options.onStatus }),
    ...(options.onPlan === undefined ? {} : { onPlan: options.onPlan }),
  });
  const loop = scheduler;
  const answer = (request: ControlRequest, uid: number): ControlReply =>
    answerControl(loop, users, request, uid);
  await using _ = await serveControl(files.control, answer);
  const ended = await loop.run(signal);
  return { ended, status: loop.status() };
}

/** What the journal of a folder says, without a scheduler: nothing is asked, nothing is changed. */
export function statusFromJournal(folder: string, now = Date.now() / 1000): ClusterStatus | null {
  const { events } = readJournal(runFiles(folder).journal);
  if (events.length === 0) return null;
  const state = new RunState();
  for (const event of events) state.apply(event);
  return statusOf(state, [], now, { running: false, fence: state.fence, plans: 0 }, () => null);
}

/** Everybody sees the status; a job is cancelled by its user, by the scheduler's, and by root; only those two drain. */
function answerControl(
  scheduler: Scheduler,
  users: (id: string) => number | null,
  request: ControlRequest,
  uid: number,
): ControlReply {
  const me = process.getuid?.() ?? 0;
  const operator = uid === 0 || uid === me;
  if (request.verb === "status") return { ok: true, value: scheduler.status() };
  if (request.verb === "drain") {
    if (!operator) return { ok: false, message: "only the scheduler's user and root may drain" };
    if (!scheduler.drain(request.server, request.on))
      return { ok: false, message: `there is no server ${request.server}` };
    return { ok: true, value: scheduler.status() };
  }
  const others = operator ? undefined : request.ids.find((id) => users(id) !== uid);
  if (others !== undefined) return { ok: false, message: `job ${others} is not yours to cancel` };
  const missing = scheduler.cancel(request.ids);
  if (missing !== null)
    return { ok: false, message: `there is no job ${missing} that waits or runs` };
  return { ok: true, value: { cancelled: request.ids } };
}

/** The file's jobs as the engine gets them, by arrival. Throws CONFIG_INVALID for an id that is given twice. */
function arrivalsOf(
  { path, content }: NonNullable<RunOptions["file"]>,
  files: ReturnType<typeof runFiles>,
  tokens: Tokens,
  began: number,
): Arrival[] {
  const userOf = submittersOf(path);
  const base = dirname(resolve(path));
  const seen = new Set<string>();
  makeFolder(files.logs);
  // Jobs of any user write their logs here, none another's (as in /tmp).
  if (process.getuid?.() === 0) chmodSync(files.logs, 0o1777);
  return content.jobs
    .map((entry) => {
      const { id, command, environment, log, gpus, grace, image } = entry;
      if (seen.has(id))
        throw new MillraceError("CONFIG_INVALID", `two jobs have the id ${id}`, {
          at: { file: path },
        });
      seen.add(id);
      const job: RunnerJob = {
        id,
        argv: command as [string, ...string[]],
        directory: resolve(base, entry.directory),
        environment: {
          ...environment,
          [leaseVariables.socket]: resolve(files.lease),
          [leaseVariables.token]: tokens.of(id),
        },
        user: userOf(entry),
        logFile: log === undefined ? resolve(files.logs, `${id}.log`) : resolve(base, log),
        gpus,
        graceSeconds: grace,
        image: image ?? null,
      };
      return { at: began + entry.arrive, entry, job };
    })
    .sort((a, b) => a.at - b.at);
}
