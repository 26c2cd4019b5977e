/** What the cross-package tests share: small workloads, a deployment with every knob set, and a run that is checked. */
import {
  type KvManager,
  type Replica,
  type RequestTable,
  ROW_EMITS,
  type SeqTable,
  type StepCostModel,
  type StepOutcome,
  type StepPlan,
} from "@millrace/serving";
import {
  createFleet,
  type Fleet,
  type FleetEnd,
  type FleetRouter,
  type KvConfig,
  type KvGeometry,
  type ModelSpec,
  runFleet,
  type SchedulerConfig,
  type SimulationConfig,
} from "@millrace/sim";

export interface Job {
  readonly arrivedAt: number;
  readonly prompt: number;
  readonly output: number;
  readonly priority?: number;
}

/** The model of the Vidur references. */
export const qwen2: ModelSpec = {
  name: "Qwen/Qwen2-7B",
  layers: 28,
  hidden: 3584,
  heads: 28,
  kvHeads: 4,
  headDim: 128,
  ffn: 18944,
  gated: true,
  vocab: 152064,
  tiedEmbeddings: false,
  postAttentionNorm: true,
  maxContext: 32768,
  source: "test",
};

/** A table of jobs; they must stand in order of arrival. Each priority is a class of its own. */
export function requestTable(jobs: readonly Job[]): RequestTable {
  const priorities = [...new Set(jobs.map((j) => j.priority ?? 0))].sort((a, b) => a - b);
  return {
    count: jobs.length,
    arrivedAt: Float64Array.from(jobs, (j) => j.arrivedAt),
    promptTokens: Int32Array.from(jobs, (j) => j.prompt),
    outputTokens: Int32Array.from(jobs, (j) => j.output),
    classIndex: Uint8Array.from(jobs, (j) => priorities.indexOf(j.priority ?? 0)),
    classes: priorities.map((priority) => ({ name: `p${priority}`, priority })),
    ids: null,
  };
}

/** Vidur's defaults where it has any; tests override what they are about. */
export function deployment(options: {
  readonly scheduler: Partial<SchedulerConfig> & Pick<SchedulerConfig, "type">;
  readonly kv?: KvConfig["type"];
  readonly replicas?: number;
  readonly stages?: number;
  readonly vidur?: boolean;
}): SimulationConfig {
  return {
    model: qwen2,
    device: {
      name: "test",
      tflops: 165,
      memoryBytes: 24e9,
      memoryBandwidth: 933e9,
      linkBandwidth: 1e11,
      networkBandwidth: 1e10,
      devicesPerServer: 8,
      dollarsPerHour: 1,
      source: "test",
    },
    tensorParallel: 1,
    pipelineParallel: options.stages ?? 1,
    replicas: options.replicas ?? 1,
    weightBytes: 2,
    kvBytes: 2,
    scheduler: {
      chunkSize: 512,
      batchSizeCap: 48,
      maxTokensInBatch: 4096,
      watermark: 0.01,
      tile: 1,
      chunking: "static",
      dynamic: { low: 32, high: 64, stages: 4, maxTokens: 4096 },
      targetTbt: 0.1,
      maxWaitingIters: 10,
      maxRequestTokens: 4096,
      ...options.scheduler,
    },
    kv: {
      type: options.kv ?? "paged",
      blockSize: 16,
      numBlocks: null,
      pageBytes: 65536,
      layout: "sliced",
    },
    predictor: { type: "roofline", path: null, prefix: "default" },
    overheads: { host: false, lmHead: false, sampling: false },
    routing: "round-robin",
    slo: [],
    fluidity: { ttft: 1, tbt: 0.1 },
    compatibility: options.vidur === true ? "vidur" : "none",
    seed: 1,
  };
}

/** Vidur's default router: a counter modulo the replicas. */
export function roundRobin(replicas: number): FleetRouter {
  let next = 0;
  return { route: () => next++ % replicas };
}

/** A row of a batch that ran. */
export interface RanRow {
  readonly request: number;
  readonly start: number;
  readonly count: number;
  readonly emits: boolean;
}

export interface RanBatch {
  readonly replica: number;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly rows: readonly RanRow[];
  readonly preempted: readonly number[];
  readonly admitted: readonly number[];
}

export interface Ran {
  readonly batches: readonly RanBatch[];
  /** By request; NaN where it did not happen. */
  readonly scheduledAt: Float64Array;
  readonly firstTokenAt: Float64Array;
  readonly completedAt: Float64Array;
  readonly restarts: Int32Array;
  readonly emitted: Int32Array;
  readonly rejected: readonly number[];
  readonly end: FleetEnd;
  readonly fleet: Fleet;
  readonly managers: readonly KvManager[];
}

export function requestsOf(
  list: { readonly data: Int32Array; readonly n: number },
  table: SeqTable,
): number[] {
  return Array.from(list.data.subarray(0, list.n), (seq) => table.request[seq]);
}

export function rowsOf(plan: StepPlan, table: SeqTable): RanRow[] {
  return Array.from({ length: plan.rows }, (_, i) => ({
    request: table.request[plan.seq[i]],
    start: plan.start[i],
    count: plan.count[i],
    emits: (plan.flags[i] & ROW_EMITS) !== 0,
  }));
}

/** Runs the fleet and keeps every batch. With `check`, all invariants of a replica are checked whenever it plans. */
export function runJobs(options: {
  readonly config: SimulationConfig;
  readonly requests: RequestTable;
  readonly geometry: KvGeometry;
  readonly cost: StepCostModel;
  /** Default: round robin. */
  readonly router?: (replicas: readonly Replica[]) => FleetRouter;
  readonly check?: boolean;
  /** Batches after which the run counts as hanging. */
  readonly bound?: number;
  readonly planned?: (replica: Replica, plan: StepPlan) => void;
  readonly expectedTokens?: Int32Array;
}): Ran {
  const { config, requests, geometry, cost } = options;
  const n = requests.count;
  const scheduledAt = new Float64Array(n).fill(Number.NaN);
  const firstTokenAt = new Float64Array(n).fill(Number.NaN);
  const completedAt = new Float64Array(n).fill(Number.NaN);
  const restarts = new Int32Array(n);
  const emitted = new Int32Array(n);
  const batches: RanBatch[] = [];
  const managers: KvManager[] = [];
  const rejected: number[] = [];
  const bound = options.bound ?? Number.POSITIVE_INFINITY;
  const fleet = createFleet(config, requests, geometry, cost, (replica, kv) => {
    managers.push(kv);
    return {
      planned: (plan, table, endedAt) => {
        const admitted = requestsOf(plan.admitted, table);
        for (const r of admitted) if (Number.isNaN(scheduledAt[r])) scheduledAt[r] = plan.now;
        const preempted = requestsOf(plan.preempted, table);
        for (const r of preempted) restarts[r]++;
        batches.push({
          replica,
          startedAt: plan.now,
          endedAt,
          rows: rowsOf(plan, table),
          preempted,
          admitted,
        });
        if (batches.length > bound) throw new Error(`no end after ${bound} batches`);
        if (options.check === true) fleet.replicas[replica].checkIntegrity();
        options.planned?.(fleet.replicas[replica], plan);
      },
      completed: (plan, outcome: StepOutcome, table, now) => {
        for (let i = 0; i < plan.rows; i++) {
          const r = table.request[plan.seq[i]];
          if (outcome.emitted[i] > 0 && Number.isNaN(firstTokenAt[r])) firstTokenAt[r] = now;
          emitted[r] += outcome.emitted[i];
          if (outcome.finish[i] !== 0) completedAt[r] = now;
        }
      },
    };
  });
  const end = runFleet({
    requests,
    replicas: fleet.replicas,
    heap: fleet.heap,
    background: config.kv.type === "vattention",
    router: options.router?.(fleet.replicas) ?? roundRobin(config.replicas),
    rejected: (request) => rejected.push(request),
    ...(options.expectedTokens === undefined ? {} : { expectedTokens: options.expectedTokens }),
  });
  return {
    batches,
    scheduledAt,
    firstTokenAt,
    completedAt,
    restarts,
    emitted,
    rejected,
    end,
    fleet,
    managers,
  };
}

/** Every step takes one second per stage. */
export const oneSecond: StepCostModel = { stepSeconds: () => 1 };

/** A cost whose sums hardly ever tie: a step costs something per batch, token, row and token of context. */
export function steppedCost(stages = 1): StepCostModel {
  return {
    stepSeconds: (plan, _table, stage) =>
      batchSeconds(plan.tokens, plan.rows, plan.decodeContext, stage, stages),
  };
}

export function batchSeconds(
  tokens: number,
  rows: number,
  decodeContext: number,
  stage: number,
  stages: number,
): number {
  const layer =
    0.0123456789 + 0.00071234 * tokens + 0.000391234 * rows + 0.00001357 * decodeContext;
  return (layer * (1 + 0.0371 * stage)) / stages;
}
