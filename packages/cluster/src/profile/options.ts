/**
 * The choices of CPUs and memory that a job has on a cluster, from its profile: which reach which speed, which one is the
 * least that keeps the proportional speed (the floor), which one reaches all there is to gain (the best), and the path of
 * best returns between the two.
 */
import { InvariantError } from "@millrace/core";
import { rateAt, type SpeedProfile } from "./speed-profile.ts";

/** What a GPU's proportional part of a server is, and the most that one server has. */
export interface ShareTerms {
  /** Cores and host bytes per GPU. */
  readonly cpusPerGpu: number;
  readonly hostBytesPerGpu: number;
  /** The largest server: a job on one server gets no more. */
  readonly serverGpus: number;
  readonly serverCpus: number;
  readonly serverHostBytes: number;
}

/** One choice of resources for a whole job, all its GPUs together. */
export interface Choice {
  /** Cores; whole unless it is a share that is not. */
  readonly cpus: number;
  /** Host memory, its cache included. */
  readonly hostBytes: number;
  /** Of hostBytes, what is cache; the rest is the job's own. */
  readonly cacheBytes: number;
  /** Relative to the proportional share, with a warm cache and on one server. */
  readonly speed: number;
}

/** The choices of a job that are not worse in everything than another, by ascending cost; every speed is at least 1. */
export interface SpeedOptions {
  readonly gpus: number;
  readonly choices: readonly Choice[];
  /** The proportional share itself: speed 1. */
  readonly share: Choice;
  /** The cheapest choice within the proportional share, so that it fits wherever the GPUs are free. */
  readonly floor: Choice;
  /** The cheapest choice of the highest speed. */
  readonly best: Choice;
  /** From the floor to the best by falling returns per cost (upper concave hull): what to grant next. */
  readonly path: readonly Choice[];
  /** Samples or iterations per second of the whole job at speed 1. */
  readonly shareRate: number;
}

/** Speeds that differ by less count as equal: measured curves are not better than this. */
const slack = 1e-9;

/**
 * The choices of a job with `gpus` GPUs. `ownBytes` is memory per GPU that is no cache. Cores go up in whole cores per
 * GPU, memory in the sizes of the profile and the share. Throws InvariantError when the job does not run on its share
 * (checked where profiles are read).
 */
export function speedOptions(
  profile: SpeedProfile,
  gpus: number,
  terms: ShareTerms,
  ownBytes = 0,
): SpeedOptions {
  const { cpusPerGpu, hostBytesPerGpu } = terms;
  const shareRate = rateAt(profile, cpusPerGpu, hostBytesPerGpu);
  if (!(shareRate > 0)) throw new InvariantError(`profile ${profile.name} is 0 at its share`);
  const spans = gpus > terms.serverGpus;
  const mostCpus = Math.floor((spans ? cpusPerGpu * gpus : terms.serverCpus) / gpus);
  const mostBytes = (spans ? hostBytesPerGpu * gpus : terms.serverHostBytes) / gpus;
  const sizes = [...new Set([...profile.hostBytes.filter((b) => b <= mostBytes), hostBytesPerGpu])];
  const points: Point[] = [];
  for (let cpus = 1; cpus <= mostCpus; cpus++)
    for (const bytes of sizes) {
      const speed = rateAt(profile, cpus, bytes) / shareRate;
      if (speed >= 1 - slack) points.push(pointOf(cpus, bytes, Math.max(1, speed), terms));
    }
  // With a share of less than one core, or a fraction of one, the share itself is the only sure floor.
  points.push(pointOf(cpusPerGpu, hostBytesPerGpu, 1, terms));
  const kept = pareto(points);
  const within = (p: Point) => p.cpus <= cpusPerGpu + slack && p.bytes <= hostBytesPerGpu + slack;
  const floor = kept.findIndex(within);
  let best = floor;
  kept.forEach((p, i) => {
    if (p.speed > (kept[best] as Point).speed + slack) best = i;
  });
  const choice = ({ cpus, bytes, speed }: Point): Choice => ({
    cpus: cpus * gpus,
    hostBytes: bytes * gpus,
    cacheBytes: Math.max(0, bytes - ownBytes) * gpus,
    speed,
  });
  const choices = kept.map(choice);
  const at = (index: number) => choices[index] as Choice;
  return {
    gpus,
    choices,
    share: choice(pointOf(cpusPerGpu, hostBytesPerGpu, 1, terms)),
    floor: at(floor),
    best: at(best),
    path: hull(kept, floor, best).map(at),
    shareRate: shareRate * gpus,
  };
}

/** Speed that the job reaches with these resources: that of its best choice within them; 0 below its floor. */
export function speedWithin({ choices }: SpeedOptions, cpus: number, hostBytes: number): number {
  let speed = 0;
  for (const choice of choices)
    if (choice.cpus <= cpus + slack && choice.hostBytes <= hostBytes + slack)
      speed = Math.max(speed, choice.speed);
  return speed;
}

/** Equal cores and memory. */
export function sameChoice(a: Choice, b: Choice): boolean {
  return Math.abs(a.cpus - b.cpus) < 1e-6 && Math.abs(a.hostBytes - b.hostBytes) < 1;
}

interface Point {
  readonly cpus: number;
  readonly bytes: number;
  readonly speed: number;
  /** Parts of a GPU's share, summed over CPUs and memory. */
  readonly cost: number;
}

function pointOf(cpus: number, bytes: number, speed: number, terms: ShareTerms): Point {
  const cost = cpus / terms.cpusPerGpu + bytes / terms.hostBytesPerGpu;
  return { cpus, bytes, speed, cost };
}

/** Points that no other equals or beats in everything, by cost. */
function pareto(points: readonly Point[]): readonly Point[] {
  const sorted = [...points].sort(
    (a, b) => a.cost - b.cost || b.speed - a.speed || a.cpus - b.cpus,
  );
  const kept: Point[] = [];
  for (const p of sorted)
    if (!kept.some((q) => q.cpus <= p.cpus && q.bytes <= p.bytes && q.speed >= p.speed - slack))
      kept.push(p);
  return kept;
}

/** Upper concave hull of speed over cost from floor to best; points on its edges stay in. */
function hull(points: readonly Point[], floor: number, best: number): readonly number[] {
  const path = [floor];
  while (path.at(-1) !== best) {
    const from = points[path.at(-1) as number] as Point;
    let next = best;
    let steepest = 0;
    points.forEach((p, i) => {
      if (p.speed <= from.speed + slack || p.cost <= from.cost) return;
      const slope = (p.speed - from.speed) / (p.cost - from.cost);
      // Equal slopes: the nearer point, so that small leftovers can be used.
      const nearer = p.cost < (points[next] as Point).cost;
      if (slope > steepest * (1 + slack) || (nearer && slope >= steepest * (1 - slack))) {
        steepest = Math.max(steepest, slope);
        next = i;
      }
    });
    path.push(next);
  }
  return path;
}
