/** What the planner asks of its workers: plain data in, plain data out, the same bytes wherever it runs. */
import { contentHash, type Job } from "@millrace/core";
import type { WorkloadSpec } from "@millrace/serving";
import type { KvGeometry } from "../fleet/create-fleet.ts";
import type { SimulationConfig, SloCheck } from "../types.ts";
import type { Usage } from "./probe.ts";

/** Part of every job id: raise it when the same job would give another outcome, so that kept results are not reused. */
export const SEARCH_REVISION = 1;

/** Rows of a request table as lists, for workloads that workers cannot make themselves. */
export interface WorkloadRows {
  readonly arrivedAt: readonly number[];
  readonly promptTokens: readonly number[];
  readonly outputTokens: readonly number[];
  readonly classIndex: readonly number[];
  readonly classes: readonly { readonly name: string; readonly priority: number }[];
}

/** Requests to replay. Those of a spec that names traces travel as rows, since workers do not read the planner's files. */
export interface JobWorkload {
  readonly spec: WorkloadSpec;
  readonly requests: number;
  readonly seed: number;
  readonly rows: WorkloadRows | null;
  /** Hash of the above, so that jobs and workers need not read thousands of rows to tell workloads apart. */
  readonly hash: string;
}

interface JobBase {
  /** One replica. */
  readonly deployment: SimulationConfig;
  readonly geometry: KvGeometry;
  readonly workload: JobWorkload;
  /** Predicted times are multiplied by it; 1 = as predicted. */
  readonly timeScale: number;
}

/** Find the capacity of a replica. */
export interface CapacityJob extends JobBase {
  readonly kind: "capacity";
  readonly tolerance: number;
  /** A rate to start from; null: measure the saturation rate first, start below it and stay below it. */
  readonly startQps: number | null;
  /** By what share the start may be off. */
  readonly spread: number;
  /** Peak load of the fleet; the replica is then also judged at the load it would carry. null: at capacity. */
  readonly peakQps: number | null;
}

/** Find the capacities of replicas that differ in the batch size cap alone, and in the memory that it leaves. */
export interface FamilyJob extends JobBase {
  readonly kind: "family";
  readonly tolerance: number;
  readonly peakQps: number | null;
  /** By ascending cap; deployment and geometry are those of the first. */
  readonly members: readonly { readonly batchSizeCap: number; readonly geometry: KvGeometry }[];
}

/** Judge a replica at a rate. */
export interface RateJob extends JobBase {
  readonly kind: "rate";
  readonly rateQps: number;
}

export type SearchJob = CapacityJob | FamilyJob | RateJob;

/** What a run said about the SLO. */
export interface RateReport {
  readonly rateQps: number;
  readonly requests: number;
  readonly met: boolean;
  readonly slo: readonly SloCheck[];
}

/** What a job cost. */
export interface JobWork {
  readonly simulations: number;
  readonly requests: number;
  readonly simulatedSeconds: number;
}

export interface CapacityOutcome {
  readonly kind: "capacity";
  /** Highest rate that met the SLO and lowest that did not (or the bound); low 0: none met. */
  readonly lowQps: number;
  readonly highQps: number;
  /** Rate at which a backlog is worked off; null when it was not measured. */
  readonly saturationQps: number | null;
  /** The SLO term that fails above, or "" when saturation is the limit. */
  readonly limit: string;
  /** The run at `lowQps`, or the lowest one that failed. */
  readonly atCapacity: RateReport & { readonly usage: Usage; readonly margin: number | null };
  /** Use of the resources while a backlog is worked off; null when it was not measured. */
  readonly saturated: Usage | null;
  /** At the load that each replica would carry. */
  readonly atLoad: RateReport | null;
  /** Seconds of a step with a full chunk beside the mean decodes at capacity, and of the decodes alone. */
  readonly steps: { readonly full: number; readonly decode: number };
  readonly unfitted: readonly string[];
  /** Requests of all runs that this rests on, also those made for another member of its family. */
  readonly requests: number;
  readonly work: JobWork;
}

export interface RateOutcome {
  readonly kind: "rate";
  readonly report: RateReport;
  readonly work: JobWork;
}

export interface FamilyOutcome {
  readonly kind: "family";
  /** One per member, in their order. */
  readonly members: readonly CapacityOutcome[];
  readonly work: JobWork;
}

export type SearchOutcome = CapacityOutcome | FamilyOutcome | RateOutcome;

/** The job under its content hash. */
export function searchJob<J extends SearchJob>(input: J): Job<J> {
  const { workload, ...rest } = input;
  return { id: contentHash([SEARCH_REVISION, workload.hash, rest]), input };
}
