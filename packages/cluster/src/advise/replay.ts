/**
 * The advice checked with placement and queues: the same jobs, submitted when they were, on servers of a given shape; once
 * with what they asked for, then sized by the advice and shared out by the house's allocator. Speed 1 is as they ran.
 */
import { proportional } from "../allocator/baseline.ts";
import { waterfill } from "../allocator/waterfill/waterfill.ts";
import type { Choice, SpeedOptions } from "../profile/options.ts";
import type { ClusterShape } from "../simulator/experiment.ts";
import { uniformServers } from "../simulator/from-trace.ts";
import { completionTimes, summarizeJct } from "../simulator/metrics.ts";
import type { JobSpec } from "../simulator/sim-job.ts";
import { type SimulationSpec, simulate } from "../simulator/simulate.ts";
import type { ClusterAdvice } from "./advise.ts";
import type { Sized } from "./size.ts";
import type { JobUse } from "./use.ts";

/** Mean hours from submission to end, queueing included. */
export interface Replay {
  readonly jobs: number;
  /** No time of submission, no request, or more than a server has. */
  readonly leftOut: number;
  readonly asRequested: number;
  /** With the least, and the most, that more cores may bring. */
  readonly advisedWorst: number;
  readonly advisedBest: number;
}

/** Null when no job can be replayed. First in, first out, decisions at arrivals and ends. */
export function replay(advice: ClusterAdvice, shape: ClusterShape): Replay | null {
  const jobs: { readonly use: JobUse; readonly sized: Sized; readonly base: Choice }[] = [];
  let leftOut = 0;
  for (const sized of advice.kinds)
    for (const use of sized.kind.jobs) {
      const base = requestOf(use, sized);
      if (base !== null && fits(base, use.gpus, shape)) jobs.push({ use, sized, base });
      else leftOut++;
    }
  if (jobs.length === 0) return null;
  jobs.sort((a, b) => (a.use.submittedAt ?? 0) - (b.use.submittedAt ?? 0));
  const first = jobs[0]?.use.submittedAt ?? 0;
  const servers = uniformServers(shape.servers, shape.gpus, shape.cpus, shape.hostBytes);
  const run = (
    options: (sized: Sized, base: Choice) => SpeedOptions,
    allocate: Parameters<typeof simulate>[1],
  ): number => {
    const specs = jobs.map(
      ({ use, sized, base }, row): JobSpec => ({
        id: String(row),
        tenant: use.owner,
        model: sized.kind.name,
        arrivedAt: (use.submittedAt ?? 0) - first,
        gpus: use.gpus,
        workSeconds: use.seconds,
        options: options(sized, base),
        gainFactor: 1,
        curve: null,
        preemptible: false,
        resize: "restart",
        restartSeconds: 0,
        refillSeconds: 0,
        refillBytesPerSecond: null,
        dataset: null,
        spanFactor: 1,
      }),
    );
    const spec: SimulationSpec = {
      jobs: specs,
      servers,
      tenants: [],
      policy: "fifo",
      roundSeconds: 300,
      decisions: "events",
      starvationSeconds: 1000 * 3600,
      serverEvents: [],
    };
    const { finish } = simulate(spec, allocate);
    return summarizeJct(completionTimes(specs, finish)).mean;
  };
  return {
    jobs: jobs.length,
    leftOut,
    asRequested: run(
      (sized, base) => optionsOf(base.cpus, [base], sized.kind.gpus),
      proportional("consolidate"),
    ),
    advisedWorst: run((sized, base) => advised(sized, base, "high"), waterfill()),
    advisedBest: run((sized, base) => advised(sized, base, "low"), waterfill()),
  };
}

/** What the job asked for, as a choice; null when that or its submission is not known. */
function requestOf({ submittedAt, cpus, memory, gpus }: JobUse, { kind }: Sized): Choice | null {
  if (submittedAt === null || gpus === 0 || cpus.held === null) return null;
  const hostBytes = memory.heldBytes ?? kind.peakBytes ?? 0;
  return { cpus: cpus.held, hostBytes, cacheBytes: 0, speed: 1 };
}

/** Whether servers of the shape can hold the job, over several servers in even parts. */
function fits({ cpus, hostBytes }: Choice, gpus: number, shape: ClusterShape): boolean {
  const parts = Math.ceil(gpus / shape.gpus);
  return (
    parts <= shape.servers && cpus <= shape.cpus * parts && hostBytes <= shape.hostBytes * parts
  );
}

/** From the least that keeps the speed it ran at to the right size. */
function advised(sized: Sized, base: Choice, bound: "low" | "high"): SpeedOptions {
  const right = sized.rightCpus ?? base.cpus;
  const hostBytes = sized.rightBytes ?? base.hostBytes;
  const choices: Choice[] = [];
  for (let cpus = Math.min(right, base.cpus); cpus <= Math.max(right, base.cpus); cpus++) {
    const speed = 1 / sized.timeWith(cpus)[bound];
    if (choices.length === 0 || speed > (choices.at(-1) as Choice).speed + 1e-9)
      choices.push({ cpus, hostBytes, cacheBytes: 0, speed: Math.max(1, speed) });
  }
  return optionsOf(base.cpus, choices, sized.kind.gpus);
}

function optionsOf(cpus: number, choices: readonly Choice[], gpus: number): SpeedOptions {
  const floor = choices[0] as Choice;
  const best = choices.at(-1) as Choice;
  return { gpus, choices, share: { ...floor, cpus }, floor, best, path: choices, shareRate: 1 };
}
