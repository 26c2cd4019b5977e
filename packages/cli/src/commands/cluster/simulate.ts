/** `millrace cluster simulate`: a trace of training jobs on simulated servers. */
import { join } from "node:path";
import {
  type CompatAllocator,
  type CompatPlacement,
  type CompatPolicy,
  parseJobTrace,
  parsePublishedProfiles,
  simulateCompatible,
  summarizeDecisions,
  summarizeJct,
} from "@millrace/cluster";
import { formatCount, formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import type { Session } from "../../session.ts";

interface Flags {
  readonly trace?: string;
  readonly profiles?: string;
  readonly policy?: CompatPolicy;
  readonly allocator?: CompatAllocator;
  readonly placement?: CompatPlacement;
  readonly servers?: number;
  readonly gpusPerServer?: number;
  readonly cpusPerServer?: number;
  readonly memoryPerServer?: number;
  readonly round?: number;
  readonly compatibility?: "synergy";
  readonly out?: string;
}

export async function clusterSimulateCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as Flags;
  const trace = needed(flags.trace, "--trace", "jobs.csv");
  const profilesPath = needed(flags.profiles, "--profiles", "profiles.json");
  const server = {
    gpus: flags.gpusPerServer ?? 8,
    cpus: flags.cpusPerServer ?? 24,
    memoryGb: flags.memoryPerServer ?? 500,
  };
  const jobs = parseJobTrace(readTextFile(trace), trace);
  const profiles = parsePublishedProfiles(
    readTextFile(profilesPath),
    profilesPath,
    server.cpus / server.gpus,
  );
  const progress = session.progress();
  const result = simulateCompatible({
    jobs,
    profiles,
    policy: flags.policy ?? "fifo",
    allocator: flags.allocator ?? "tune",
    placement: flags.placement ?? "none",
    servers: flags.servers ?? 16,
    server,
    roundSeconds: flags.round ?? 300,
    clock: () => performance.now(),
    stop: (done, now) => {
      const note = `${formatSeconds(now)} simulated`;
      progress.update({ phase: "simulating", done, total: jobs.length, note });
      return false;
    },
  });
  progress.end();
  for (const { id, reason } of result.rejected) session.warn(`job ${id} is rejected: ${reason}`);
  const jct = result.finish.map((finish, row) => finish - (jobs[row]?.arrivalSeconds ?? 0));
  const { n, mean, p95, p99 } = summarizeJct(jct);
  const makespan = result.finish.reduce((last, at) => (at > last ? at : last), 0) / 3600;
  const decisionMs = summarizeDecisions(result.decisionMs);
  if (flags.out !== undefined) {
    const path = join(flags.out, "jobs.csv");
    const rows = jobs.flatMap((job, row) => {
      const finish = result.finish[row] as number;
      return Number.isNaN(finish) ? [] : [`${job.id},${finish},${jct[row]}\n`];
    });
    writeFileAtomic(path, `job_id,finish,jct\n${rows.join("")}`);
    session.note(`wrote ${path}`);
  }
  if (session.json)
    session.printJson({
      schema: "millrace.cluster-simulate/1",
      jobs: n,
      avgJctHours: mean,
      p95JctHours: p95,
      p99JctHours: p99,
      makespanHours: makespan,
      decisionMs,
      rounds: result.rounds,
      rejected: result.rejected,
    });
  else
    session.print([
      `${formatCount(n)} jobs finished, makespan ${formatNumber(makespan)} h`,
      `JCT  mean ${formatNumber(mean)} h, p95 ${formatNumber(p95)} h, p99 ${formatNumber(p99)} h`,
      `decision  mean ${formatNumber(decisionMs.mean)} ms, p99 ${formatNumber(decisionMs.p99)} ms over ${formatCount(result.rounds)} rounds`,
    ]);
  return 0;
}

function needed(value: string | undefined, flag: string, example: string): string {
  if (value !== undefined) return value;
  throw new MillraceError("USAGE", `${flag} is missing`, { hint: `add ${flag} ${example}` });
}
