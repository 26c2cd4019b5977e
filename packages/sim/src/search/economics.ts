/** From the capacity of a replica to devices and money, and the order in which candidates stand. */
import type { Candidate, JudgedCandidate } from "../types.ts";
import { candidateKey, deviceOf, devicesOf } from "./candidate.ts";
import { replicasFor } from "./replicas.ts";
import type { PlanLoad, PlanSpec } from "./spec.ts";

/** Hours of a month: 365 days / 12. */
const HOURS_PER_MONTH = 730;

/** What a fleet of a candidate is and costs. */
export interface Economics {
  readonly replicas: number;
  readonly gpus: number;
  readonly dollarsPerHour: number;
  /** Average load that the fleet carries at its peak factor with its spares down, requests per second. */
  readonly carriedQps: number;
  readonly qpsPerDollar: number;
}

/** Mean tokens of a request. */
export interface MeanTokens {
  readonly prompt: number;
  readonly output: number;
}

/** Load that every replica must carry at the peak; null when a fixed fleet is asked for its best. */
export function peakQps({ load, fleet }: PlanSpec): number | null {
  return fleet !== null || load === null ? null : load.qps * load.peakFactor;
}

/**
 * Replicas, devices and dollars for a capacity > 0 of one replica. The low end of the capacity is what counts: the rate
 * that met the SLO for every seed. A fixed fleet uses all of its devices that whole replicas can use.
 */
export function economicsOf(
  spec: PlanSpec,
  candidate: Candidate,
  capacityQps: number,
  fixedReplicas: number | null = null,
): Economics {
  const devices = devicesOf(candidate);
  const { peakFactor, spareReplicas } = loadOf(spec);
  const peak = peakQps(spec);
  const replicas =
    fixedReplicas ??
    (peak === null
      ? Math.floor((spec.fleet?.gpus ?? 0) / devices)
      : replicasFor(peak, capacityQps) + spareReplicas);
  const price = deviceOf(spec, candidate.device).dollarsPerHour;
  return {
    replicas,
    gpus: replicas * devices,
    dollarsPerHour: replicas * devices * price,
    carriedQps: (Math.max(0, replicas - spareReplicas) * capacityQps) / peakFactor,
    qpsPerDollar: capacityQps / (devices * price),
  };
}

/** Rate of one replica at the peak with the spares down; a fixed fleet runs at capacity. */
export function rateOfReplica(spec: PlanSpec, replicas: number, capacityQps: number): number {
  const peak = peakQps(spec);
  return peak === null ? capacityQps : peak / Math.max(1, replicas - loadOf(spec).spareReplicas);
}

/** The money of a candidate in the form the result has it. */
export function prices(
  spec: PlanSpec,
  economics: Economics,
  tokens: MeanTokens,
): Pick<JudgedCandidate, "dollarsPerHour" | "dollarsPerMonth" | "dollarsPerMillionTokens"> {
  const { dollarsPerHour, carriedQps } = economics;
  const qps = peakQps(spec) === null ? carriedQps : loadOf(spec).qps;
  const tokensPerHour = qps * (tokens.prompt + tokens.output) * 3600;
  return {
    dollarsPerHour,
    dollarsPerMonth: dollarsPerHour * HOURS_PER_MONTH,
    dollarsPerMillionTokens: tokensPerHour > 0 ? (dollarsPerHour / tokensPerHour) * 1e6 : 0,
  };
}

export function loadOf({ load }: PlanSpec): PlanLoad {
  return load ?? { qps: 0, peakFactor: 1, spareReplicas: 0 };
}

/** What of a candidate its place depends on. */
export interface Placed {
  readonly config: Candidate;
  readonly economics: Economics;
  readonly confirmed: boolean;
}

/**
 * Order of candidates, best first: dollars per hour for a load, load carried for a fixed fleet; then confirmed ones,
 * then requests per dollar, then the order of the axes.
 */
export function compareCandidates(spec: PlanSpec): (a: Placed, b: Placed) => number {
  const fixed = peakQps(spec) === null;
  return (a, b) => {
    const first = fixed
      ? b.economics.carriedQps - a.economics.carriedQps
      : a.economics.dollarsPerHour - b.economics.dollarsPerHour;
    if (first !== 0) return first;
    if (a.confirmed !== b.confirmed) return a.confirmed ? -1 : 1;
    const value = b.economics.qpsPerDollar - a.economics.qpsPerDollar;
    if (value !== 0 && !Number.isNaN(value)) return value;
    return candidateKey(a.config) < candidateKey(b.config) ? -1 : 1;
  };
}
