/**
 * What a job gets from whoever schedules it, and what it reports back. On the wire: NDJSON over the unix socket named
 * by MILLRACE_LEASE, opened with the token of MILLRACE_LEASE_TOKEN. Without that variable a job stands alone.
 */

/** Resources that a job may use now. */
export interface Grant {
  /** CPU cores; may be a fraction. */
  readonly cpus: number;
  /** Host memory, bytes: the job's own and its cache together. */
  readonly hostBytes: number;
  /** The part of hostBytes for cached samples. */
  readonly cacheBytes: number;
  /** Accelerators by their number on this server. */
  readonly gpus: readonly number[];
}

/** One report of progress: sums since the last report. */
export interface StepReport {
  /** Steps completed since the job began, over all its starts. */
  readonly step: number;
  readonly computeSeconds: number;
  readonly waitSeconds: number;
  readonly samples: number;
}

/** A job's side of its lease. */
export interface JobLease extends AsyncDisposable {
  /** Called after a step; cheap and never waits: reports are gathered and sent at most once a second. */
  report(step: number, computeSeconds: number, waitSeconds: number, samples: number): void;
  /** Aborts when the job is asked to stop: it saves, calls `checkpointed` and ends. */
  readonly stop: AbortSignal;
  /** What is granted now; changes while the job runs. */
  grant(): Grant;
  /** Says that a checkpoint of this step is durable in `dir`; resolves when the scheduler has acknowledged it. */
  checkpointed(step: number, dir: string): Promise<void>;
}

/** Messages of a job, one JSON object a line. */
export type LeaseRequest =
  | { readonly kind: "hello"; readonly token: string; readonly pid: number }
  | ({ readonly kind: "report" } & StepReport)
  | {
      readonly kind: "checkpointed";
      readonly id: number;
      readonly step: number;
      readonly dir: string;
    };

/** Messages to a job. */
export type LeaseReply =
  | ({ readonly kind: "grant" } & Grant)
  | { readonly kind: "stop"; readonly reason: string }
  | { readonly kind: "acknowledged"; readonly id: number }
  | { readonly kind: "refused"; readonly message: string };

/** Names of the environment variables that carry a lease to a process. */
export const leaseVariables = { socket: "MILLRACE_LEASE", token: "MILLRACE_LEASE_TOKEN" } as const;

/** The lease of a job that nobody schedules: a fixed grant, and totals that the job itself may read. */
export class StandAloneLease implements JobLease {
  private readonly granted: Grant;
  private readonly stopping = new AbortController();
  private total: StepReport = { step: 0, computeSeconds: 0, waitSeconds: 0, samples: 0 };
  private readonly saved: { step: number; dir: string }[] = [];

  constructor(grant: Grant) {
    this.granted = grant;
  }

  get stop(): AbortSignal {
    return this.stopping.signal;
  }

  /** Asks the job to stop: SIGINT in a terminal ends here. */
  requestStop(reason: string): void {
    this.stopping.abort(reason);
  }

  grant(): Grant {
    return this.granted;
  }

  report(step: number, computeSeconds: number, waitSeconds: number, samples: number): void {
    this.total = {
      step,
      computeSeconds: this.total.computeSeconds + computeSeconds,
      waitSeconds: this.total.waitSeconds + waitSeconds,
      samples: this.total.samples + samples,
    };
  }

  async checkpointed(step: number, dir: string): Promise<void> {
    this.saved.push({ step, dir });
  }

  /** Sums over all reports; `step` is the last one's. */
  totals(): StepReport {
    return this.total;
  }

  /** Every checkpoint said to be durable, in order. */
  checkpoints(): readonly { readonly step: number; readonly dir: string }[] {
    return this.saved;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
