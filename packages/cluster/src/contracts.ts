/**
 * What a decision is made from and what it is: servers and jobs in, a plan out, as plain data. Policies, allocators and
 * placement read these and nothing else: no clock, no file, no random number. The simulator and the runners (local,
 * Slurm, Kubernetes) execute the same plans. Time is seconds, sizes are bytes, speed is relative to the job's
 * GPU-proportional share of a server (Synergy §3: speed 1). hostBytes is a server's memory, never an accelerator's.
 */
import type { SpeedOptions } from "./profile/options.ts";

/** A NUMA node of a server. */
export interface NumaNode {
  readonly cpus: number;
  /** GPUs attached to it, by their number on the server. */
  readonly gpus: readonly number[];
}

/** A server as it is now; its index in `ClusterState.servers` names it in plans. */
export interface ServerState {
  readonly name: string;
  /** GPUs, numbered from 0. */
  readonly gpus: number;
  /** CPU cores and host memory that jobs may be given; what the system needs is not in them. */
  readonly cpus: number;
  readonly hostBytes: number;
  /** `draining` takes no new jobs and keeps those it has; `down` has lost those it had. */
  readonly condition: "up" | "draining" | "down";
  readonly numa: readonly NumaNode[];
}

/** What a job holds on one server. */
export interface Slice {
  /** Index of the server. */
  readonly server: number;
  /** GPUs by their number on the server, ascending. */
  readonly gpus: readonly number[];
  /** Cores; whole ones wherever the proportional share of the job is whole. */
  readonly cpus: number;
  /** Host memory, its part of the cache included. */
  readonly hostBytes: number;
  /** The part of hostBytes for cached samples. */
  readonly cacheBytes: number;
  /** NUMA node that the cores should come from (index in `ServerState.numa`); null when none holds them all. */
  readonly numa: number | null;
}

/** How a running job's cores and memory may be changed: in place, or by stopping it and starting it again. */
export type ResizeMode = "live" | "restart";

/** A job as the scheduler sees it now. The driver (simulator, runner) owns the object and keeps it up to date. */
export interface JobState {
  /** Unique, stable over restarts of the scheduler. */
  readonly id: string;
  readonly tenant: string;
  readonly arrivedAt: number;
  /** GPUs, all or none. */
  readonly gpus: number;
  /** CPU and memory choices with the speed each brings. */
  readonly options: SpeedOptions;
  /** Seconds that the whole job takes at speed 1; an estimate, refined while it runs. */
  readonly workSeconds: number;
  /** The part of it that is left. */
  readonly remainingSeconds: number;
  /** GPUs times the seconds they were held. */
  readonly attainedGpuSeconds: number;
  /** End of the last instant it ran; null when it never has. */
  readonly lastRanAt: number | null;
  /** Waited too long once; goes first from then on (`starved` in policy/starvation.ts finds them). */
  readonly boosted: boolean;
  /** What it holds now; empty when it waits. */
  readonly held: readonly Slice[];
  /**
   * False: it must not be stopped or moved now: not preemptible, or no durable checkpoint since its start. In place it may
   * still be shrunk to its floor when `resize` is live; otherwise it keeps all it holds, also what is above its share.
   */
  readonly preemptible: boolean;
  readonly resize: ResizeMode;
  /** Seconds without progress when it is stopped and started elsewhere: checkpoint, start-up, loading. */
  readonly restartSeconds: number;
  /** Seconds that its first epoch on a cold cache takes longer than on a warm one, at most. */
  readonly refillSeconds: number;
  /** Bytes per second at which a cold epoch fills its cache; null: `refillSeconds` whatever cache is granted. */
  readonly refillBytesPerSecond: number | null;
  /** Bytes of its cache that hold samples now; a move or a stop loses them, a smaller grant cuts them. */
  readonly warmBytes: number;
  /** Data set that its cache holds; jobs of one data set on one server share the cache. Null: its own. */
  readonly dataset: string | null;
  /** Speed factor when it spans servers, above 0 and at most 1. */
  readonly spanFactor: number;
}

/** A tenant. */
export interface Tenant {
  readonly name: string;
  /** GPUs that its jobs may hold before others' wait for them; null: its weight's part of the cluster. */
  readonly quotaGpus: number | null;
  /** GPUs that its jobs never hold more of; null: all. */
  readonly limitGpus: number | null;
  /** Above 0; how what is left over is shared. */
  readonly weight: number;
}

/**
 * How jobs may spread over servers: `any` parts, `even` ones (engines that give every node of a job the same), or `none`:
 * a job is on one server.
 */
export type Spanning = "any" | "even" | "none";

/** All that a decision is made from. */
export interface ClusterState {
  readonly now: number;
  readonly servers: readonly ServerState[];
  /** Jobs that have arrived and have not ended. Any order; equal keys keep it. */
  readonly jobs: readonly JobState[];
  /** Tenants with terms of their own; a name that is not here has weight 1, no quota of its own, no limit. */
  readonly tenants: readonly Tenant[];
  /** Default `any`. */
  readonly spanning?: Spanning;
}

/** What a job gets until the next plan. */
export interface Assignment {
  readonly job: string;
  /** One or more; empty only in plans that are not executable. */
  readonly slices: readonly Slice[];
  /** Predicted speed with a warm cache; at least 1 whenever the profile is right (invariant of every allocator here but greedy, which skips). */
  readonly speed: number;
}

/** Why a job is not in a plan. */
export type WaitReason = "gpus" | "quota" | "resources" | "impossible";

/** Who runs where with what, until the next plan. */
export interface Plan {
  readonly at: number;
  /** In the order in which they were decided. */
  readonly assignments: readonly Assignment[];
  readonly waiting: readonly { readonly job: string; readonly reason: WaitReason }[];
  /** False for reference plans (pooled) that no set of servers can hold. */
  readonly executable: boolean;
  /** Upper bound of the summed speed of the assigned jobs where the allocator proves one (opt), else null. */
  readonly bound: number | null;
}

/**
 * Makes a plan. Jobs of `order` are tried in that order. Never changes its input, gives the same plan for the same
 * input, and never gives a job that runs less than speed 1 (greedy leaves it out instead). A job that may not be stopped
 * keeps its GPUs; where such a job holds more than its share and cannot give back, others may have to wait for resources.
 */
export type Allocator = (state: ClusterState, order: readonly JobState[]) => Plan;

/** An allocator that computes elsewhere (opt: a worker). */
export type AsyncAllocator = (state: ClusterState, order: readonly JobState[]) => Promise<Plan>;
