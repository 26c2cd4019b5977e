/** What was held when: for utilisation, and job by job for the report. */
import type { ServerState, Slice } from "../contracts.ts";
import type { SimJob } from "./sim-job.ts";

/** A job on one server without a break. */
export interface Segment {
  readonly job: number;
  readonly server: number;
  readonly gpus: readonly number[];
  readonly cpus: number;
  readonly hostBytes: number;
  readonly from: number;
  readonly to: number;
}

/** Resources in use from an instant on. */
export interface UsageSample {
  readonly at: number;
  readonly gpus: number;
  readonly cpus: number;
  readonly hostBytes: number;
  readonly running: number;
  readonly waiting: number;
}

/** Integrals over time of what jobs held, and on demand every segment and sample. */
export class Timeline {
  readonly segments: Segment[] = [];
  readonly samples: UsageSample[] = [];
  readonly capacity: { readonly gpus: number; readonly cpus: number; readonly hostBytes: number };
  /** Seconds times amount. */
  gpuSeconds = 0;
  cpuSeconds = 0;
  byteSeconds = 0;
  /** GPU seconds of slices whose GPUs and cores are on one NUMA node; of all, where servers have one. */
  numaLocalSeconds = 0;
  private readonly numa: readonly boolean[];
  private readonly keep: boolean;
  private readonly since = new Map<number, number>();
  private gpus = 0;
  private cpus = 0;
  private hostBytes = 0;

  constructor(servers: readonly ServerState[], keep: boolean) {
    this.keep = keep;
    this.numa = servers.map((server) => server.numa.length > 1);
    this.capacity = {
      gpus: servers.reduce((sum, s) => sum + s.gpus, 0),
      cpus: servers.reduce((sum, s) => sum + s.cpus, 0),
      hostBytes: servers.reduce((sum, s) => sum + s.hostBytes, 0),
    };
  }

  /** The job holds its slices from now on. */
  hold(job: SimJob, at: number): void {
    this.since.set(job.row, at);
    this.count(job.held, 1);
  }

  /** The job gives up its slices. */
  release(job: SimJob, at: number): void {
    const from = this.since.get(job.row);
    if (from === undefined) return;
    this.since.delete(job.row);
    this.count(job.held, -1);
    for (const { server, gpus, cpus, hostBytes, numa } of job.held) {
      const seconds = at - from;
      if (numa !== null || this.numa[server] === false)
        this.numaLocalSeconds += gpus.length * seconds;
      this.gpuSeconds += gpus.length * seconds;
      this.cpuSeconds += cpus * seconds;
      this.byteSeconds += hostBytes * seconds;
      if (this.keep && seconds > 0)
        this.segments.push({ job: job.row, server, gpus, cpus, hostBytes, from, to: at });
    }
  }

  /** Notes what is in use after a decision. */
  sample(at: number, active: readonly SimJob[], running: number): void {
    if (!this.keep) return;
    const { gpus, cpus, hostBytes } = this;
    this.samples.push({ at, gpus, cpus, hostBytes, running, waiting: active.length - running });
  }

  private count(slices: readonly Slice[], sign: 1 | -1): void {
    for (const slice of slices) {
      this.gpus += sign * slice.gpus.length;
      this.cpus += sign * slice.cpus;
      this.hostBytes += sign * slice.hostBytes;
    }
  }
}
