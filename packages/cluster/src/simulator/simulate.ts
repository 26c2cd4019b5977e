/**
 * Simulation of a cluster over the same pure decisions that the runners execute (house rule: predict with what runs). Jobs
 * progress continuously, end when they end, and pay for restarts and cold caches. Decisions fall at rounds, or also at
 * arrivals and ends. Deterministic: the clock only measures decisions.
 */
import { InvariantError } from "@millrace/core";
import { changeCost, changeKind, warmThere } from "../changes.ts";
import type {
  Allocator,
  Assignment,
  AsyncAllocator,
  ClusterState,
  JobState,
  ServerState,
  Tenant,
} from "../contracts.ts";
import { type Decision, decide, decideLater } from "../decide.ts";
import type { PolicyName } from "../policy/policy.ts";
import { starved } from "../policy/starvation.ts";
import { learn, onlineOptions } from "../profile/online.ts";
import { type JobSpec, SimJob } from "./sim-job.ts";
import { Timeline } from "./timeline.ts";
import { observed, trueSpeed } from "./truth.ts";

/** A change of a server during the run. */
export interface ServerEvent {
  readonly at: number;
  readonly server: number;
  readonly condition: ServerState["condition"];
}

/** What to simulate. */
export interface SimulationSpec {
  readonly jobs: readonly JobSpec[];
  readonly servers: readonly ServerState[];
  readonly tenants: readonly Tenant[];
  readonly policy: PolicyName;
  readonly roundSeconds: number;
  /** `rounds`: decisions at whole rounds only. `events`: also whenever a job arrives or ends. */
  readonly decisions: "rounds" | "events";
  /** Waiting seconds after which a job goes first. */
  readonly starvationSeconds: number;
  readonly serverEvents: readonly ServerEvent[];
  /** Believed curves are refined by what jobs are seen to do (default: they stay). */
  readonly refine?: boolean;
}

/** What a run may do beside computing. */
export interface SimulationHooks {
  /** Milliseconds that only grow, for decision times. */
  readonly clock?: () => number;
  /** Called at every decision; true ends the run early. */
  readonly stop?: (finished: number, now: number) => boolean;
  /** Keeps what every job held when. */
  readonly timeline?: boolean;
}

/** What became of the jobs; arrays are in the order of the spec. */
export interface SimulationResult {
  /** Seconds; NaN for a job that did not finish. */
  readonly finish: Float64Array;
  readonly firstStart: Float64Array;
  /** Stops of a running job to start it again at once with other resources or elsewhere. */
  readonly restarts: Uint32Array;
  /** Stops of a running job to let others run. */
  readonly preemptions: Uint32Array;
  /** GPUs times the seconds that a job held them. */
  readonly gpuSeconds: Float64Array;
  readonly decisions: number;
  readonly decisionMs: readonly number[];
  /** Summed speed of each plan over the bound that its allocator proved; empty where it proves none. */
  readonly ofBound: readonly number[];
  readonly timeline: Timeline;
}

/** Runs with an allocator that decides at once. */
export function simulate(
  spec: SimulationSpec,
  allocate: Allocator,
  hooks: SimulationHooks = {},
): SimulationResult {
  const run = new Run(spec, hooks);
  while (run.next()) run.apply(run.timed(() => decide(run.state(), spec.policy, allocate)));
  return run.result();
}

/** Runs with an allocator that may compute elsewhere. */
export async function simulateLater(
  spec: SimulationSpec,
  allocate: Allocator | AsyncAllocator,
  hooks: SimulationHooks = {},
): Promise<SimulationResult> {
  const run = new Run(spec, hooks);
  while (run.next()) {
    const started = hooks.clock?.() ?? 0;
    const decision = await decideLater(run.state(), spec.policy, allocate);
    run.decided(started);
    run.apply(decision);
  }
  return run.result();
}

class Run {
  private readonly spec: SimulationSpec;
  private readonly hooks: SimulationHooks;
  private readonly jobs: readonly SimJob[];
  private readonly arrivals: readonly SimJob[];
  private readonly byId: ReadonlyMap<string, SimJob>;
  private readonly servers: ServerState[];
  private readonly events: readonly ServerEvent[];
  private readonly finish: Float64Array;
  private readonly decisionMs: number[] = [];
  private readonly ofBound: number[] = [];
  private readonly timeline: Timeline;
  private active: SimJob[] = [];
  private arrived = 0;
  private happened = 0;
  private finished = 0;
  private decisions = 0;
  private now = 0;
  private started = false;

  constructor(spec: SimulationSpec, hooks: SimulationHooks) {
    this.spec = spec;
    this.hooks = hooks;
    this.jobs = spec.jobs.map((job, row) => new SimJob(job, row));
    this.arrivals = [...this.jobs].sort((a, b) => a.arrivedAt - b.arrivedAt || a.row - b.row);
    this.byId = new Map(this.jobs.map((job) => [job.id, job]));
    if (this.byId.size !== this.jobs.length) throw new InvariantError("job ids are not unique");
    this.servers = [...spec.servers];
    this.events = [...spec.serverEvents].sort((a, b) => a.at - b.at);
    this.finish = new Float64Array(this.jobs.length).fill(Number.NaN);
    this.timeline = new Timeline(spec.servers, hooks.timeline === true);
  }

  state(): ClusterState {
    const { tenants } = this.spec;
    return { now: this.now, servers: this.servers, jobs: this.active, tenants };
  }

  timed(decision: () => Decision): Decision {
    const started = this.hooks.clock?.() ?? 0;
    const made = decision();
    this.decided(started);
    return made;
  }

  decided(started: number): void {
    this.decisions++;
    if (this.hooks.clock !== undefined) this.decisionMs.push(this.hooks.clock() - started);
  }

  /** Goes to the next instant at which to decide; false at the end of the run. */
  next(): boolean {
    for (;;) {
      if (this.finished === this.jobs.length) return false;
      if (this.hooks.stop?.(this.finished, this.now) === true) return false;
      const to = this.nextInstant();
      if (!Number.isFinite(to)) return false;
      this.advanceTo(to);
      this.started = true;
      if (this.active.length > 0) break;
    }
    for (const job of starved(this.active, this.now, this.spec.starvationSeconds))
      (job as SimJob).boosted = true;
    if (this.spec.refine === true) for (const job of this.active) refine(job);
    return true;
  }

  private nextInstant(): number {
    const { roundSeconds, decisions } = this.spec;
    const arrival = this.arrivals[this.arrived]?.arrivedAt ?? Number.POSITIVE_INFINITY;
    const round = (at: number) => Math.ceil(at / roundSeconds) * roundSeconds;
    if (this.active.length === 0) return decisions === "events" ? arrival : round(arrival);
    let to = this.started ? (Math.floor(this.now / roundSeconds) + 1) * roundSeconds : this.now;
    if (decisions === "events") {
      to = Math.min(to, arrival);
      for (const job of this.active) to = Math.min(to, job.endsAt(this.now));
    }
    // A job that can never run must not keep the rounds going for ever.
    const stuck =
      this.active.every((job) => job.speed === 0) &&
      this.arrived === this.arrivals.length &&
      this.happened === this.events.length &&
      this.started;
    return stuck ? Number.POSITIVE_INFINITY : to;
  }

  /** Lets time pass: jobs progress and end, others arrive, servers change. */
  private advanceTo(to: number): void {
    const seconds = to - this.now;
    let kept = 0;
    for (const job of this.active) {
      if (job.speed > 0) {
        const end = job.endsAt(this.now);
        if (end <= to + 1e-9) {
          job.advance(Math.max(0, end - this.now), end);
          this.end(job, Math.min(end, to));
          continue;
        }
        job.advance(seconds, to);
        job.warmBytes = job.overheadSeconds > 0 ? job.warmBytes : cacheOf(job);
      }
      this.active[kept++] = job;
    }
    this.active.length = kept;
    this.now = to;
    while (this.arrived < this.arrivals.length) {
      const job = this.arrivals[this.arrived] as SimJob;
      if (job.arrivedAt > to) break;
      this.active.push(job);
      this.arrived++;
    }
    while (this.happened < this.events.length) {
      const event = this.events[this.happened] as ServerEvent;
      if (event.at > to) break;
      this.happened++;
      const server = this.servers[event.server] as ServerState;
      this.servers[event.server] = { ...server, condition: event.condition };
      if (event.condition === "down") this.lose(event.server);
    }
  }

  private end(job: SimJob, at: number): void {
    this.finish[job.row] = at;
    this.finished++;
    this.timeline.release(job, at);
    job.speed = 0;
    job.held = [];
  }

  /** The jobs of a lost server wait again; what they did since their last checkpoint is in restartSeconds. */
  private lose(server: number): void {
    for (const job of this.active) {
      if (!job.held.some((slice) => slice.server === server)) continue;
      this.timeline.release(job, this.now);
      job.held = [];
      job.speed = 0;
      job.warmBytes = 0;
      job.restarts++;
    }
  }

  /** Executes a plan at once. */
  apply({ order, plan }: Decision): void {
    const { executable, bound } = plan;
    if (bound !== null && bound > 0)
      this.ofBound.push(plan.assignments.reduce((sum, { speed }) => sum + speed, 0) / bound);
    const running = new Set(plan.assignments.map(({ job }) => this.byId.get(job) as SimJob));
    // Those that stop do so first: what they kept warm is gone when others start.
    for (const job of this.active)
      if (!running.has(job) && job.speed > 0) {
        this.timeline.release(job, this.now);
        job.preemptions++;
        job.held = [];
        job.speed = 0;
        job.overheadSeconds = 0;
        job.warmBytes = 0;
      }
    for (const assignment of plan.assignments) {
      const job = this.byId.get(assignment.job) as SimJob;
      // A reference plan holds nothing; it is enough that the job runs.
      if (executable) this.give(job, assignment.slices);
      else if (Number.isNaN(job.firstStart)) job.firstStart = this.now;
      job.speed = this.speedOf(job, assignment);
    }
    this.timeline.sample(this.now, this.active, running.size);
    // What is nearly sorted sorts in linear time.
    if (order.length === this.active.length) this.active = order as SimJob[];
  }

  /** Real speed of an assignment. */
  private speedOf(job: SimJob, { slices, speed }: Assignment): number {
    const { curve } = job.spec;
    if (this.spec.refine !== true || curve === null || slices.length === 0)
      return realSpeed(job, speed);
    return trueSpeed(curve, job.gpus, slices) * (slices.length > 1 ? job.spanFactor : 1);
  }

  private give(job: SimJob, slices: JobState["held"]): void {
    const kind = changeKind(job, slices);
    if (kind === "keep") return;
    job.unseenSeconds = 0;
    let cacheBytes = 0;
    for (const slice of slices) cacheBytes += slice.cacheBytes;
    const shared = warmThere(this.active, job, slices[0]?.server ?? -1);
    const own = kind === "resize" ? job.warmBytes : 0;
    const first = Number.isNaN(job.firstStart) ? (job.spec.startSeconds ?? 0) : 0;
    const left = kind === "resize" ? job.overheadSeconds : first;
    job.overheadSeconds = left + changeCost(job, kind, cacheBytes, shared);
    job.warmBytes = Math.min(cacheBytes, Math.max(own, shared));
    if (kind === "restart" || kind === "move") job.restarts++;
    if (Number.isNaN(job.firstStart)) job.firstStart = this.now;
    this.timeline.release(job, this.now);
    job.held = slices;
    this.timeline.hold(job, this.now);
  }

  result(): SimulationResult {
    const rows = this.jobs;
    return {
      finish: this.finish,
      firstStart: Float64Array.from(rows, (job) => job.firstStart),
      restarts: Uint32Array.from(rows, (job) => job.restarts),
      preemptions: Uint32Array.from(rows, (job) => job.preemptions),
      gpuSeconds: Float64Array.from(rows, (job) => job.attainedGpuSeconds),
      decisions: this.decisions,
      decisionMs: this.decisionMs,
      ofBound: this.ofBound,
      timeline: this.timeline,
    };
  }
}

/** What the scheduler learns from how the job ran with its grant. */
function refine(job: SimJob): void {
  const { online, spec, unseenSeconds } = job;
  if (online === null || spec.curve === null || job.held.length === 0 || unseenSeconds === 0)
    return;
  const { share, ownBytes } = spec.curve;
  const next = learn(online, observed(spec.curve, job.gpus, job.held, unseenSeconds));
  if (next === online) return;
  job.unseenSeconds = 0;
  job.online = next;
  if (next.believed !== online.believed)
    job.options = onlineOptions(next, job.gpus, share, ownBytes);
}

/** Believed speed to real speed: the gain over the share is off by the job's factor, the share itself is not. */
function realSpeed(job: SimJob, believed: number): number {
  return believed <= 1 ? believed : 1 + (believed - 1) * job.spec.gainFactor;
}

function cacheOf(job: SimJob): number {
  let bytes = 0;
  for (const slice of job.held) bytes += slice.cacheBytes;
  return bytes;
}
