/** `millrace cluster simulate`: training jobs on simulated servers. */
import { join } from "node:path";
import {
  type CompatAllocator,
  type CompatPolicy,
  parseJobTrace,
  parsePublishedProfiles,
  runExperiment,
  simulateCompatible,
  summarizeDecisions,
  summarizeJct,
  type TraceJob,
} from "@millrace/cluster";
import { clusterReport } from "@millrace/cluster/report";
import { formatSeconds, MillraceError } from "@millrace/core";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import { renderReport } from "@millrace/report";
import {
  type ClusterFlags,
  experimentOf,
  modelsOf,
  needed,
  shapeOf,
  traceOf,
} from "../../cluster/flags.ts";
import { summaryLines } from "../../cluster/lines.ts";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";

interface SimulateFlags extends ClusterFlags {
  readonly compatibility?: "synergy";
  readonly out?: string;
}

export async function clusterSimulateCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as SimulateFlags;
  return flags.compatibility === undefined ? own(session, flags) : compatible(session, flags);
}

/** The house's simulator. */
async function own(session: Session, flags: SimulateFlags): Promise<number> {
  const models = modelsOf(flags);
  const trace = traceOf(flags, models);
  const experiment = experimentOf(flags);
  const progress = session.progress();
  const { jobs, rejected, result, jct, summary } = await session.interruptible((signal) =>
    runExperiment(trace, models, experiment, {
      clock: () => performance.now(),
      timeline: flags.out !== undefined,
      stop: (done, now) => {
        const note = `${formatSeconds(now)} simulated`;
        progress.update({ phase: "simulating", done, total: trace.length, note });
        return signal.aborted;
      },
    }),
  );
  progress.end();
  tellRejected(session, rejected);
  if (flags.out !== undefined) {
    const ids = jobs.map((job) => job.id);
    writeJobs(session, flags.out, ids, result.finish, jct);
    const path = join(flags.out, "report.html");
    const made = { command: commandLine(), version };
    const report = clusterReport({ jobs, result, summary, experiment, rejected }, made);
    writeFileAtomic(path, renderReport(report));
    session.note(`wrote ${path}`);
  }
  const { policy, allocator } = experiment;
  const { jct: times, ...rest } = summary;
  if (session.json)
    session.printJson({
      schema: "millrace.cluster-simulate/1",
      jobs: times.n,
      avgJctHours: times.mean,
      p50JctHours: times.p50,
      p95JctHours: times.p95,
      p99JctHours: times.p99,
      p999JctHours: times.p999,
      ...rest,
      policy,
      allocator,
      unfinished: jobs.length - times.n,
      rejected,
      seed: experiment.seed,
    });
  else session.print(summaryLines(summary, jobs.length));
  return 0;
}

/** The published simulator. */
function compatible(session: Session, flags: SimulateFlags): number {
  const { policy = "fifo", allocator = "tune" } = flags;
  if (!isCompatPolicy(policy) || !isCompatAllocator(allocator))
    throw new MillraceError(
      "USAGE",
      `the published simulator has no reproducible ${isCompatPolicy(policy) ? `allocator ${allocator}` : `policy ${policy}`}`,
      {
        hint: "with --compatibility synergy: --policy fifo, srtf, las, ftf, drf or tetris; --allocator proportional, greedy or tune",
      },
    );
  const path = needed(flags.trace, "--trace", "jobs.csv");
  const profilesPath = needed(flags.profiles, "--profiles", "profiles.json");
  const { servers, gpus, cpus, hostBytes } = shapeOf(flags);
  const jobs = parseJobTrace(readTextFile(path), path);
  const profiles = parsePublishedProfiles(readTextFile(profilesPath), profilesPath, cpus / gpus);
  const progress = session.progress();
  const result = simulateCompatible({
    jobs,
    profiles,
    policy,
    allocator,
    placement: flags.placement ?? "none",
    servers,
    server: { gpus, cpus, memoryGb: hostBytes / 1e9 },
    roundSeconds: flags.round ?? 300,
    clock: () => performance.now(),
    stop: (done, now) => {
      const note = `${formatSeconds(now)} simulated`;
      progress.update({ phase: "simulating", done, total: jobs.length, note });
      return false;
    },
  });
  progress.end();
  tellRejected(session, result.rejected);
  const jct = result.finish.map((finish, row) => finish - (jobs[row] as TraceJob).arrivalSeconds);
  const { n, mean, p50, p95, p99, p999 } = summarizeJct(jct);
  const makespanHours = result.finish.reduce((last, at) => (at > last ? at : last), 0) / 3600;
  const decisionMs = summarizeDecisions(result.decisionMs);
  if (flags.out !== undefined) {
    const ids = jobs.map((job) => String(job.id));
    writeJobs(session, flags.out, ids, result.finish, jct);
  }
  const figures = {
    schema: "millrace.cluster-simulate/1",
    jobs: n,
    avgJctHours: mean,
    p50JctHours: p50,
    p95JctHours: p95,
    p99JctHours: p99,
    p999JctHours: p999,
    makespanHours,
    decisionMs,
    decisions: result.rounds,
    policy,
    allocator,
    rejected: result.rejected,
  };
  if (session.json) session.printJson(figures);
  else
    session.print(
      summaryLines(
        { jct: summarizeJct(jct), makespanHours, decisions: result.rounds, decisionMs },
        jobs.length - result.rejected.length,
      ),
    );
  return 0;
}

function tellRejected(
  session: Session,
  rejected: readonly { readonly id: number; readonly reason: string }[],
): void {
  const shown = 10;
  for (const { id, reason } of rejected.slice(0, shown))
    session.warn(`job ${id} is rejected: ${reason}`);
  if (rejected.length > shown) session.warn(`and ${rejected.length - shown} more jobs`);
}

function writeJobs(
  session: Session,
  folder: string,
  ids: readonly string[],
  finish: Float64Array,
  jct: Float64Array,
): void {
  const path = join(folder, "jobs.csv");
  const rows = ids.flatMap((id, row) =>
    Number.isNaN(finish[row]) ? [] : [`${id},${finish[row]},${jct[row]}\n`],
  );
  writeFileAtomic(path, `job_id,finish,jct\n${rows.join("")}`);
  session.note(`wrote ${path}`);
}

function isCompatPolicy(policy: string): policy is CompatPolicy {
  return ["fifo", "srtf", "las", "ftf", "drf", "tetris"].includes(policy);
}

function isCompatAllocator(allocator: string): allocator is CompatAllocator {
  return ["proportional", "greedy", "tune"].includes(allocator);
}
