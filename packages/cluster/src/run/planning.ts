/** From the run's state to a plan and back: jobs as the policies see them, slices by server name. Pure. */
import type {
  Allocator,
  AsyncAllocator,
  ClusterState,
  JobState,
  Plan,
  ServerState,
  Slice,
} from "../contracts.ts";
import { decideLater } from "../decide.ts";
import { fitsEvenly } from "../placement/even.ts";
import { planProblem } from "../plan-check.ts";
import type { PolicyName } from "../policy/policy.ts";
import { starved } from "../policy/starvation.ts";
import type { ShareTerms } from "../profile/options.ts";
import { refillOf } from "../profile/refill.ts";
import { shareTerms } from "../profile/share.ts";
import { rateAt } from "../profile/speed-profile.ts";
import type { GrantedSlice } from "../runners/runner.ts";
import { Beliefs, type CurveOfModel } from "./beliefs.ts";
import type { JobEntry } from "./jobs-file.ts";
import type { JobRecord } from "./run-state.ts";

/** Seconds of a job that says nothing about its work. */
const unknownWorkSeconds = 3600;
/** Speed over several servers where there is none. */
const leastSpanFactor = 0.01;

/** What the planner needs to know beside the state. */
export interface PlanningTerms {
  readonly models: ReadonlyMap<string, CurveOfModel>;
  readonly policy: PolicyName;
  readonly allocate: Allocator | AsyncAllocator;
  readonly tenants: ClusterState["tenants"];
  readonly starvationSeconds: number;
  readonly spans: boolean;
  readonly resizes: boolean;
  /** Shorter observations say nothing. */
  readonly learnSeconds: number;
}

/** What a job shall have; by id. */
export type Desired = ReadonlyMap<
  string,
  { readonly slices: readonly GrantedSlice[]; readonly speed: number }
>;

/** Plans, and keeps what is costly to make anew. */
export class Planner {
  /** What is believed of the jobs' speed. */
  readonly beliefs: Beliefs;
  private readonly terms: PlanningTerms;
  private readonly boosted = new Set<string>();

  constructor(terms: PlanningTerms) {
    this.terms = terms;
    this.beliefs = new Beliefs(terms.models, terms.learnSeconds);
  }

  /** Why the job can never run on these servers, or null. */
  impossible(entry: JobEntry, servers: readonly ServerState[]): string | null {
    const { models, spans } = this.terms;
    const { model, gpus } = entry;
    const total = servers.reduce((sum, server) => sum + server.gpus, 0);
    const most = Math.max(0, ...servers.map((server) => server.gpus));
    if (gpus > total) return `it needs ${gpus} GPUs and the cluster has ${total}`;
    if (!spans && gpus > most)
      return `it needs ${gpus} GPUs on one server and the largest has ${most}; under Slurm jobs may span servers`;
    if (spans && !fitsEvenly(gpus, servers))
      return `its ${gpus} GPUs cannot be equal parts of the servers' GPUs; ask for a multiple of what one has`;
    if (model === undefined) return null;
    const curve = models.get(model);
    if (curve === undefined) return `there is no profile of model ${model}`;
    const share = shareTerms(servers);
    if (rateAt(curve.profile, share.cpusPerGpu, share.hostBytesPerGpu) > 0) return null;
    return `model ${model} does not run on its share of ${share.cpusPerGpu} CPUs and ${share.hostBytesPerGpu} bytes per GPU`;
  }

  /** The job's work at its proportional share, and what of it is left, seconds. */
  work(
    job: JobRecord,
    servers: readonly ServerState[],
    now: number,
  ): { readonly total: number; readonly left: number } {
    const { samples, duration } = job.entry;
    const rate = this.beliefs.options(job, shareTerms(servers)).shareRate;
    if (samples !== undefined) {
      const total = samples / rate;
      const done = job.samples > 0 ? job.samples / rate : this.ranSeconds(job, now);
      return { total, left: Math.max(total * 0.001, total - done) };
    }
    const total = duration ?? unknownWorkSeconds;
    return { total, left: Math.max(total * 0.01, total - this.ranSeconds(job, now)) };
  }

  /** A plan for these jobs; `on`: the jobs whose start is not over. Rejects only with bugs: a plan that breaks a rule. */
  async plan(
    jobs: readonly JobRecord[],
    servers: readonly ServerState[],
    now: number,
  ): Promise<{ readonly desired: Desired; readonly plan: Plan; readonly problem: string | null }> {
    const { policy, allocate, tenants, starvationSeconds, spans } = this.terms;
    const share = shareTerms(servers);
    const states = jobs.map((job) => this.stateOf(job, servers, share, now));
    for (const job of starved(states, now, starvationSeconds)) this.boosted.add(job.id);
    const state: ClusterState = {
      now,
      servers,
      jobs: states.map((job) => (this.boosted.has(job.id) ? { ...job, boosted: true } : job)),
      tenants,
      spanning: spans ? "even" : "none",
    };
    const { plan } = await decideLater(state, policy, allocate);
    const problem = planProblem(state, plan);
    const desired = new Map<string, { slices: readonly GrantedSlice[]; speed: number }>();
    for (const { job, slices, speed } of plan.assignments)
      desired.set(job, { slices: slices.map((slice) => granted(slice, servers)), speed });
    return { desired, plan, problem };
  }

  private stateOf(
    job: JobRecord,
    servers: readonly ServerState[],
    share: ShareTerms,
    now: number,
  ): JobState {
    const { entry } = job;
    const index = new Map(servers.map((server, i) => [server.name, i]));
    const { total, left } = this.work(job, servers, now);
    const held = job.slices.flatMap((slice): Slice[] => {
      const server = index.get(slice.server);
      const { gpus, cpus, hostBytes, cacheBytes, numa } = slice;
      return server === undefined ? [] : [{ server, gpus, cpus, hostBytes, cacheBytes, numa }];
    });
    return {
      id: entry.id,
      tenant: entry.tenant,
      arrivedAt: job.arrivedAt,
      gpus: entry.gpus,
      options: this.beliefs.options(job, share),
      workSeconds: total,
      remainingSeconds: left,
      attainedGpuSeconds: job.attainedGpuSeconds,
      lastRanAt: job.slices.length > 0 ? now : job.lastRanAt,
      boosted: false,
      held,
      preemptible: mayStop(job),
      resize: this.resizeOf(job),
      restartSeconds: entry.restartCost,
      ...refillOf(this.terms.models.get(entry.model ?? "") ?? {}, entry.gpus, 0),
      warmBytes: held.reduce((sum, slice) => sum + slice.cacheBytes, 0),
      dataset: entry.dataset ?? null,
      // Where jobs cannot span, room on one server is worth all of a job's speed.
      spanFactor: this.terms.spans ? entry.spanFactor : leastSpanFactor,
    };
  }

  /** How the job's cores change. */
  resizeOf(job: JobRecord): JobState["resize"] {
    return this.terms.resizes && !job.isFixed && job.askedAt === null
      ? job.entry.resize
      : "restart";
  }

  private ranSeconds(job: JobRecord, now: number): number {
    const running = job.startedAt === null ? 0 : Math.max(0, now - job.startedAt) * job.speed;
    return job.workedSeconds + running;
  }
}

/**
 * Only a job that is marked, runs, is not being stopped already, and has a durable checkpoint acknowledged since its start
 * may be stopped.
 */
export function mayStop(job: JobRecord): boolean {
  return (
    job.entry.preemptible &&
    job.askedAt === null &&
    job.slices.length > 0 &&
    job.checkpoint?.attempt === job.attempt
  );
}

function granted({ server, ...rest }: Slice, servers: readonly ServerState[]): GrantedSlice {
  return { server: servers[server]?.name ?? "", ...rest };
}
