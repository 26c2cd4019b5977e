/**
 * What executes plans: the operating system here, Slurm, or Kubernetes. A runner owns no policy and no memory of its own:
 * the engine is the truth (`observe` gives all of it), the scheduler's journal says what was ordered, and the run loop
 * brings the first to the second. So every order may be repeated, and a scheduler that was killed goes on by observing.
 */
import type { ServerState } from "../contracts.ts";
import type { EngineTerms } from "./engine.ts";

/** Who a job's processes run as. */
export interface JobUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** A job as the engine gets it; the same for all its starts. */
export interface RunnerJob {
  /** Unique in the cluster, stable over restarts of the scheduler; 1 to 52 of a-z, 0-9 and inner dashes (a DNS label). */
  readonly id: string;
  /** Program and arguments; never a shell line. */
  readonly argv: readonly [string, ...string[]];
  /** Absolute path that the program starts in. */
  readonly directory: string;
  /** Added to what the engine gives by itself: the job's own variables and its lease (core/job `leaseVariables`). */
  readonly environment: Readonly<Record<string, string>>;
  /** Null: whoever the scheduler runs as. */
  readonly user: JobUser | null;
  /** Absolute path; output of all starts is appended. Engines that keep logs themselves (Kubernetes) leave it alone. */
  readonly logFile: string;
  /** GPUs of every start; equal to those of its slices together. */
  readonly gpus: number;
  /** From asking a job to stop until it is killed. */
  readonly graceSeconds: number;
  /** Container image; engines without containers leave it alone, Kubernetes needs it. */
  readonly image: string | null;
}

/** What an order grants on one server: a plan's slice, with the server by its name. */
export interface GrantedSlice {
  readonly server: string;
  /** GPUs by number, ascending. An engine that numbers them itself takes only how many. */
  readonly gpus: readonly number[];
  readonly cpus: number;
  readonly hostBytes: number;
  readonly cacheBytes: number;
  readonly numa: number | null;
}

/** What the engine says that a job holds on one server. */
export interface HeldSlice {
  readonly server: string;
  readonly gpus: number;
  /** As exact as the engine keeps it: whole cores under Slurm and taskset. */
  readonly cpus: number;
  /** Under Slurm whole MiB. */
  readonly hostBytes: number;
}

/** How a start ended. */
export type Outcome =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "killed"; readonly signal: string }
  /** It never ran: no such program, no such folder, a refusal of the engine. */
  | { readonly kind: "not-started"; readonly reason: string }
  /** Nobody knows: its server went away, or its record did. */
  | { readonly kind: "lost"; readonly reason: string };

/**
 * Where the engine is with a job. `held`: known, nothing runs, no start was ordered since the last one ended or since it
 * was submitted. `starting`: ordered and not running yet. `running`. `stopping`: asked to stop, still running. `ended`:
 * the start `attempt` is over, by itself or because it was stopped.
 */
export type Phase = "held" | "starting" | "running" | "stopping" | "ended";

/** A job in the engine. */
export interface Observed {
  readonly id: string;
  readonly phase: Phase;
  /** The last start that was ordered, from 1; 0 when there was none. */
  readonly attempt: number;
  /** What it holds now; empty unless starting, running or stopping. By server name. */
  readonly held: readonly HeldSlice[];
  /** Of the start `attempt`; null unless ended. */
  readonly outcome: Outcome | null;
  /** CPU seconds that the start's processes have used, by the engine's own measure; null where it has none. */
  readonly cpuSeconds: number | null;
}

/** One start of a job. The scheduler numbers them from 1 over the job's life and journals the number before the order. */
export interface StartOrder {
  readonly id: string;
  readonly attempt: number;
  /** At least one; on a runner that does not span exactly one, on others equal parts. */
  readonly slices: readonly GrantedSlice[];
}

/** A change in place. `later`: the engine took it and has not done it yet. `refused`: it can only be done by a restart. */
export type Resized = "done" | "later" | "refused";

/**
 * Executes orders for one cluster of jobs. Orders resolve when the engine has taken them, not when they are done:
 * `observe` shows that. All are idempotent: repeating one that was taken changes nothing, so after a crash between journal
 * and engine the scheduler repeats the last order of each job. Orders for different jobs may overlap, those for one job
 * come one after the other. Every call rejects with MillraceError RUNNER_FAILED naming the job and what the engine said,
 * after its own retries of what may pass (conflicts, timeouts); then nothing is known and the scheduler observes again.
 * No call waits longer than about 30 s or than its signal.
 */
export interface Runner extends AsyncDisposable {
  readonly name: string;
  /** What opens a runner on the same engine again. */
  readonly engine: EngineTerms;
  /** Whether cores and memory of a running job can change without stopping it. */
  readonly resizes: boolean;
  /** Whether a job may be on several servers at once, with as much on each. */
  readonly spans: boolean;

  /**
   * Takes the cluster over, before any order. `fence` grows with every scheduler that takes over: from then on orders of
   * runners with a smaller one reject with MillraceError SCHEDULER_FENCED, as far as the engine can keep it (see each
   * runner). Rejects so itself when a greater one has been seen. Repeating it with the same fence is allowed.
   */
  takeOver(fence: number, signal?: AbortSignal): Promise<void>;

  /** The servers now, those that are down too, in a stable order. What the engine keeps for itself is not in them. */
  servers(signal?: AbortSignal): Promise<readonly ServerState[]>;

  /** All jobs of this cluster in the engine, complete, in no order. Jobs of others are not in it. */
  observe(signal?: AbortSignal): Promise<readonly Observed[]>;

  /** Makes the job known, held: nothing of it runs. Nothing happens when the id is known already. */
  submit(job: RunnerJob, signal?: AbortSignal): Promise<void>;

  /**
   * Starts attempt `attempt` on exactly these slices. The job must be known and its earlier attempts ended. When the
   * engine has seen this attempt before, whatever became of it, nothing happens: no attempt ever runs twice.
   */
  start(order: StartOrder, signal?: AbortSignal): Promise<void>;

  /** Changes cores and memory of a running attempt in place; servers and GPUs are those that it has. */
  resize(order: StartOrder, signal?: AbortSignal): Promise<Resized>;

  /**
   * Stops attempt `attempt`: asks its processes to end (SIGTERM) and kills what is left after the job's graceSeconds.
   * Nothing happens when it has ended already, or another attempt is on. The job stays known.
   */
  stop(id: string, attempt: number, signal?: AbortSignal): Promise<void>;

  /** Stops what runs of the job as `stop` does and forgets it: when nothing runs any more it is not observed again. */
  remove(id: string, signal?: AbortSignal): Promise<void>;

  /**
   * Resolves when something may have changed since the last `observe`, or when the signal aborts (it never rejects).
   * Wrong alarms are allowed; a runner without news of its engine resolves after its polling interval.
   */
  changed(signal: AbortSignal): Promise<void>;
}
