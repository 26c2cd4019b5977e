/** Fleets for benches: any scheduler and KV manager over a cheap cost model, with or without metrics. */
import { Rng } from "@millrace/core";
import {
  MetricsRecorder,
  type ReplicaObserver,
  type RequestTable,
  type StepCostModel,
} from "@millrace/serving";
import {
  createFleet,
  findDevice,
  findModel,
  runFleet,
  type SchedulerType,
  type SimulationConfig,
} from "@millrace/sim";

/** A cost model that costs next to nothing itself: what remains is the loop. */
export const cheapCost: StepCostModel = {
  stepSeconds: (plan) => 0.005 + 1e-5 * plan.tokens + 1e-9 * plan.decodeContext,
};

export function benchConfig(
  type: SchedulerType,
  kv: "paged" | "static" | "vattention",
  replicas = 1,
  batchSizeCap = 128,
): SimulationConfig {
  return {
    model: findModel("llama-3-8b"),
    device: findDevice("a100-80gb"),
    tensorParallel: 1,
    pipelineParallel: 1,
    replicas,
    weightBytes: 2,
    kvBytes: 2,
    scheduler: {
      type,
      chunkSize: 512,
      batchSizeCap,
      maxTokensInBatch: 8192,
      watermark: 0.01,
      tile: 128,
      chunking: "static",
      dynamic: { low: 128, high: 512, stages: 4, maxTokens: 8192 },
      targetTbt: 0.1,
      maxWaitingIters: 10,
      maxRequestTokens: 1 << 20,
    },
    kv: { type: kv, blockSize: 16, numBlocks: null, pageBytes: 2 << 20, layout: "sliced" },
    predictor: { type: "roofline", path: null, prefix: "default" },
    overheads: { host: true, lmHead: true, sampling: true },
    routing: "round-robin",
    slo: [],
    fluidity: { ttft: 1, tbt: 0.05 },
    compatibility: "none",
    seed: 1,
  };
}

export interface BenchRun {
  readonly cpu: () => void;
  readonly recorder: MetricsRecorder;
}

const silent: ReplicaObserver = { planned: () => {}, completed: () => {} };

/** Prepares a run; calling the result's `cpu` runs the loop once. */
export function prepare(
  config: SimulationConfig,
  requests: RequestTable,
  options: { metrics: boolean; blocks: number; blockTokens: number; cost?: StepCostModel },
): BenchRun {
  const recorder = new MetricsRecorder(requests, { ttftTarget: 1, tbtTarget: 0.05 });
  const fleet = createFleet(config, requests, options, options.cost ?? cheapCost, (r, kv) =>
    options.metrics ? recorder.forReplica(r, kv) : silent,
  );
  let next = 0;
  const router = { route: () => next++ % config.replicas };
  return {
    recorder,
    cpu: () => {
      runFleet({
        requests,
        replicas: fleet.replicas,
        heap: fleet.heap,
        router,
        rejected: (r) => recorder.rejected(r),
      });
    },
  };
}

/** `count` requests of random lengths, Poisson at `qps`. */
export function randomRequests(count: number, qps: number, seed: number): RequestTable {
  const rng = new Rng(seed);
  const arrivedAt = new Float64Array(count);
  const promptTokens = new Int32Array(count);
  const outputTokens = new Int32Array(count);
  let t = 0;
  for (let i = 0; i < count; i++) {
    t += rng.exponential(qps);
    arrivedAt[i] = t;
    promptTokens[i] = Math.min(4096, 16 + Math.floor(rng.exponential(1 / 1000)));
    outputTokens[i] = Math.min(1024, 2 + Math.floor(rng.exponential(1 / 220)));
  }
  return {
    count,
    arrivedAt,
    promptTokens,
    outputTokens,
    classIndex: new Uint8Array(count),
    classes: [{ name: "all", priority: 0 }],
    ids: null,
  };
}

/** `rows` requests that arrive at once and decode together, `steps` tokens each, give or take a few. */
export function steadyRequests(rows: number, steps: number, seed: number): RequestTable {
  const rng = new Rng(seed);
  return {
    count: rows,
    arrivedAt: new Float64Array(rows),
    promptTokens: Int32Array.from({ length: rows }, () => rng.int(16, 64)),
    outputTokens: Int32Array.from({ length: rows }, () => steps + rng.int(0, 8)),
    classIndex: new Uint8Array(rows),
    classes: [{ name: "all", priority: 0 }],
    ids: null,
  };
}
