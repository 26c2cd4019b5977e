/** Free resources of the servers in a round of the published simulator, and its two ways of placing a job. */
import type { CompatJob, Hold, ServerShape } from "./job.ts";

/** Demand of a whole job. */
export interface Demand {
  readonly gpus: number;
  readonly cpus: number;
  readonly memoryGb: number;
}

/** `consolidate`: multi-GPU jobs go to one server where they fit; `none`: the first GPUs in index order. */
export type CompatPlacement = "consolidate" | "none";

/**
 * The servers. Which GPU of a server a job gets never matters to the published rules, only how many are free, so only
 * those are kept. Sums are formed in the published order, so that rounding is the same.
 */
export class CompatServers {
  readonly count: number;
  readonly shape: ServerShape;
  readonly gpusUsed: Float64Array;
  readonly cpusUsed: Float64Array;
  readonly memoryUsed: Float64Array;
  /** Jobs by server in the order in which they were placed. */
  readonly jobs: CompatJob[][];
  freeGpus: number;
  private readonly placement: CompatPlacement;

  constructor(count: number, shape: ServerShape, placement: CompatPlacement) {
    this.count = count;
    this.shape = shape;
    this.placement = placement;
    this.gpusUsed = new Float64Array(count);
    this.cpusUsed = new Float64Array(count);
    this.memoryUsed = new Float64Array(count);
    this.jobs = Array.from({ length: count }, () => []);
    this.freeGpus = count * shape.gpus;
  }

  /** Frees everything: all leases end with the round. */
  clear(): void {
    this.gpusUsed.fill(0);
    this.cpusUsed.fill(0);
    this.memoryUsed.fill(0);
    for (const jobs of this.jobs) jobs.length = 0;
    this.freeGpus = this.count * this.shape.gpus;
  }

  free(server: number): Demand {
    return {
      gpus: this.shape.gpus - (this.gpusUsed[server] as number),
      cpus: this.shape.cpus - (this.cpusUsed[server] as number),
      memoryGb: this.shape.memoryGb - (this.memoryUsed[server] as number),
    };
  }

  /** Places the job with this demand; false, and nothing changed, when it does not fit. */
  place(job: CompatJob, demand: Demand): boolean {
    const holds =
      this.placement === "none"
        ? this.firstGpus(demand)
        : ((demand.gpus > 1 ? this.oneServer(demand) : null) ?? this.fewestFree(demand));
    if (holds === null) return false;
    job.holds.push(...holds);
    this.take(job);
    for (const { server } of holds) this.jobs[server]?.push(job);
    return true;
  }

  /** Charges what the job holds to its servers. */
  take(job: CompatJob): void {
    for (const { server, gpus, cpus, memoryGb } of job.holds) {
      this.gpusUsed[server]! += gpus;
      this.cpusUsed[server]! += cpus;
      this.memoryUsed[server]! += memoryGb;
    }
    this.freeGpus -= job.gpus;
  }

  /** Gives back what the job holds; its place in `jobs` stays. */
  release(job: CompatJob): void {
    for (const { server, gpus, cpus, memoryGb } of job.holds) {
      this.gpusUsed[server]! -= gpus;
      this.cpusUsed[server]! -= cpus;
      this.memoryUsed[server]! -= memoryGb;
    }
    this.freeGpus += job.gpus;
  }

  private slice({ gpus, cpus, memoryGb }: Demand): { cpus: number; memoryGb: number } {
    return { cpus: cpus / gpus, memoryGb: memoryGb / gpus };
  }

  /** As many whole slices as fit, GPU by GPU in index order. */
  private firstGpus(demand: Demand): Hold[] | null {
    const { cpus, memoryGb } = this.slice(demand);
    const holds: Hold[] = [];
    let missing = demand.gpus;
    for (let server = 0; server < this.count && missing > 0; server++) {
      let held: Hold | null = null;
      while (missing > 0 && this.fitsBeside(server, held, cpus, memoryGb)) {
        held = grown(held, server, cpus, memoryGb, holds);
        missing--;
      }
    }
    return missing === 0 ? holds : null;
  }

  /** The server with the fewest free GPUs that fits the whole job. */
  private oneServer({ gpus, cpus, memoryGb }: Demand): Hold[] | null {
    let best = -1;
    let fewest = Number.POSITIVE_INFINITY;
    for (let server = 0; server < this.count; server++) {
      const free = this.shape.gpus - (this.gpusUsed[server] as number);
      if (
        free >= gpus &&
        free < fewest &&
        this.shape.cpus - (this.cpusUsed[server] as number) >= cpus &&
        this.shape.memoryGb - (this.memoryUsed[server] as number) >= memoryGb
      ) {
        best = server;
        fewest = free;
      }
    }
    return best < 0 ? null : [{ server: best, gpus, cpus, memoryGb }];
  }

  /** Slice by slice from the server with the fewest free GPUs; a server that cannot take one is left out for the job. */
  private fewestFree(demand: Demand): Hold[] | null {
    const { cpus, memoryGb } = this.slice(demand);
    const holds: Hold[] = [];
    const order = this.byFreeGpus();
    let missing = demand.gpus;
    // Taking a GPU leaves the server with the fewest still, so it is emptied before the next one is looked at.
    for (const server of order) {
      let held: Hold | null = null;
      while (missing > 0 && this.fitsBeside(server, held, cpus, memoryGb)) {
        held = grown(held, server, cpus, memoryGb, holds);
        missing--;
      }
      if (missing === 0) return holds;
    }
    return null;
  }

  /** Servers with free GPUs, fewest first, then by index. */
  byFreeGpus(): number[] {
    const order: number[] = [];
    for (let server = 0; server < this.count; server++)
      if ((this.gpusUsed[server] as number) < this.shape.gpus) order.push(server);
    return order.sort(
      (a, b) => (this.gpusUsed[b] as number) - (this.gpusUsed[a] as number) || a - b,
    );
  }

  private fitsBeside(server: number, held: Hold | null, cpus: number, memoryGb: number): boolean {
    return (
      this.shape.gpus - (this.gpusUsed[server] as number) - (held?.gpus ?? 0) >= 1 &&
      this.shape.cpus - (this.cpusUsed[server] as number) - (held?.cpus ?? 0) >= cpus &&
      this.shape.memoryGb - (this.memoryUsed[server] as number) - (held?.memoryGb ?? 0) >= memoryGb
    );
  }
}

/** The hold with one more slice; a new one is added to `holds`. */
function grown(
  held: Hold | null,
  server: number,
  cpus: number,
  memoryGb: number,
  holds: Hold[],
): Hold {
  if (held === null) {
    const hold = { server, gpus: 1, cpus, memoryGb };
    holds.push(hold);
    return hold;
  }
  held.gpus += 1;
  held.cpus += cpus;
  held.memoryGb += memoryGb;
  return held;
}
