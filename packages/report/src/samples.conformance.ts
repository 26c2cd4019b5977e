/** Results as searches and simulations return them, from a seed: what every chart and renderer is held against. */
import { Rng } from "@millrace/core";
import type { JudgedConfig, PlanFindings, PlannedConfig } from "./plan/input.ts";
import type { ReproduceReportInput } from "./reproduce/report.ts";
import type { LatencyMs, SimulationRun } from "./simulation/input.ts";

const devices = [
  { device: "H100-80GB", dollars: 4.1, qps: 1.9 },
  { device: "A100-80GB", dollars: 2.21, qps: 1 },
  { device: "A40-48GB", dollars: 0.79, qps: 0.24 },
] as const;

const schedulers = ["sarathi-serve", "vllm-v1", "vllm-v0", "orca"] as const;

/** A plan with a winner, sixty candidates, rejections and everything else that a plan can have. */
export function planSample(seed = 7): PlanFindings {
  const rng = new Rng(seed);
  const candidates: JudgedConfig[] = [];
  const rejected: { config: PlannedConfig; reason: string }[] = [];
  for (const d of devices)
    for (const tensorParallel of [1, 2, 4, 8])
      for (const scheduler of schedulers)
        for (const chunkSize of [512, 2048]) {
          const config: PlannedConfig = {
            device: d.device,
            tensorParallel,
            pipelineParallel: d.device === "A40-48GB" && tensorParallel === 4 ? 2 : 1,
            scheduler,
            chunkSize,
            batchSizeCap: 128,
            kv: "paged",
            weightBytes: 2,
            kvBytes: 2,
          };
          if (tensorParallel < (d.device === "A40-48GB" ? 4 : 2)) {
            const need = (140 / tensorParallel).toFixed(1);
            rejected.push({
              config,
              reason: `weights need ${need} GB of device memory, ${d.device.slice(-4)} have room for ${rng.next() > 0.5 ? 72 : 43.2} GB`,
            });
            continue;
          }
          if (scheduler === "orca" && chunkSize === 2048) {
            rejected.push({
              config,
              reason: `TTFT p90 is ${(2 + rng.next() * 9).toFixed(2)} s of 2 s even at 0.1 QPS`,
            });
            continue;
          }
          candidates.push(judged(rng, config, d));
        }
  candidates.sort((a, b) => a.dollarsPerHour - b.dollarsPerHour);
  const best = candidates.find((c) => c.slo.every((s) => s.met)) ?? null;
  const current =
    candidates.find((c) => c.config.device === "A100-80GB" && c.config.scheduler === "vllm-v0") ??
    null;
  return {
    model: "meta-llama/Llama-2-70b-hf",
    load: { qps: 12, peakFactor: 1.5, spareReplicas: 1 },
    workload: "chat-1m: 1,020 prompt and 220 output tokens on average",
    slo: ["TTFT p90 ≤ 2 s", "TBT p99 ≤ 200 ms"],
    best,
    candidates,
    pareto: paretoIndices(candidates),
    rejected,
    nearestMiss: rejected.at(-1) ?? null,
    notModelled: [
      "speculative decoding",
      "prefix caching across requests (the trace has no shared prefixes)",
      "network between servers: replicas stay inside one server",
    ],
    current,
    sensitivity: [
      {
        change: "load +25 %",
        winner: "H100-80GB · TP2 · sarathi-serve 512",
        dollarsPerHour: 81.4,
        sameWinner: true,
      },
      {
        change: "H100 at $5.50 an hour",
        winner: "A100-80GB · TP4 · sarathi-serve 2048",
        dollarsPerHour: 84.1,
        sameWinner: false,
      },
      {
        change: "prompts twice as long",
        winner: "H100-80GB · TP2 · sarathi-serve 512",
        dollarsPerHour: 119,
        sameWinner: true,
      },
      {
        change: "TTFT p90 ≤ 1 s",
        winner: "H100-80GB · TP4 · sarathi-serve 2048",
        dollarsPerHour: 98.4,
        sameWinner: false,
      },
    ],
    robust: {
      errorPercent: 10,
      sameWinner: true,
      rivals: ["A100-80GB · TP4 · sarathi-serve 512"],
      capacityQps: null,
    },
    launch: [
      {
        target: "vLLM",
        command:
          "vllm serve meta-llama/Llama-2-70b-hf \\\n  --tensor-parallel-size 2 \\\n  --max-num-seqs 128 \\\n  --enable-chunked-prefill --max-num-batched-tokens 512",
      },
    ],
    judged: candidates.length,
    pruned: rejected.length,
    simulations: 1284,
    simulatedRequests: 2_310_000,
    simulatedGpuHours: 4120,
    elapsedMs: 48_200,
    seed,
  };
}

function judged(rng: Rng, config: PlannedConfig, d: (typeof devices)[number]): JudgedConfig {
  const gain =
    { "sarathi-serve": 1, "vllm-v1": 0.96, "vllm-v0": 0.64, orca: 0.31 }[config.scheduler] ?? 0.5;
  const size = config.tensorParallel * config.pipelineParallel;
  const value =
    d.qps *
    size ** 0.86 *
    gain *
    (config.chunkSize === 512 ? 0.97 : 1) *
    (0.92 + rng.next() * 0.16);
  const replicasNeeded = Math.ceil(18 / value - 1e-9) + 1;
  const gpus = replicasNeeded * size;
  const dollarsPerHour = gpus * d.dollars;
  const ttft =
    (0.5 + rng.next() * 1.4) / (d.qps * size ** 0.3) + (config.chunkSize === 512 ? 0.25 : 0);
  const tbt = config.scheduler === "vllm-v0" ? 0.31 + rng.next() * 0.4 : 0.06 + rng.next() * 0.12;
  return {
    config,
    capacityQps: { value, low: value * 0.955, high: value * 1.035 },
    replicasNeeded,
    gpus,
    dollarsPerHour,
    dollarsPerMonth: dollarsPerHour * 730,
    dollarsPerMillionTokens: (dollarsPerHour / (12 * 1240 * 3600)) * 1e6,
    qpsPerDollar: value / (size * d.dollars),
    slo: [
      { term: "ttft p90", limit: 2, value: ttft, met: ttft <= 2 },
      { term: "tbt p99", limit: 0.2, value: tbt, met: tbt <= 0.2 },
    ],
    bottleneck: config.scheduler === "vllm-v0" ? "TBT p99" : "KV cache",
    stage: "confirmed",
    requestsSimulated: 60_000,
    unfitted:
      config.device === "H100-80GB" ? ["all-reduce over NVLink: data sheet, not a profile"] : [],
  };
}

function paretoIndices(candidates: readonly JudgedConfig[]): number[] {
  const y = (c: JudgedConfig): number => c.slo[0]?.value ?? 0;
  return candidates.flatMap((c, i) =>
    candidates.some((o) => o.qpsPerDollar > c.qpsPerDollar && y(o) < y(c)) ? [] : [i],
  );
}

/** A run of `requests` requests in `batches` batches on a pipeline of `stages` stages. */
export function simulationSample(
  requests = 2000,
  batches = 8000,
  stages = 2,
  seed = 42,
): SimulationRun {
  const rng = new Rng(seed);
  const arrivedAt = new Float64Array(requests);
  let now = 0;
  for (let i = 0; i < requests; i++) {
    now += -Math.log(1 - rng.next()) * 0.16;
    arrivedAt[i] = now;
  }
  const tail = (): number => Math.exp((rng.next() + rng.next() + rng.next() - 1.5) * 1.6);
  const scheduledAt = arrivedAt.map((t) => t + 0.08 * tail() ** 2);
  const firstTokenAt = scheduledAt.map((t) => t + 0.35 * tail());
  const completedAt = firstTokenAt.map((t) => t + 9 * tail());
  const timeline = batchSample(
    rng,
    batches,
    stages,
    completedAt.reduce((m, t) => Math.max(m, t), 0),
  );
  const ms = (samples: Float64Array): LatencyMs =>
    summarize(samples.map((v, i) => (v - (arrivedAt[i] ?? 0)) * 1e3));
  const tbtQuantiles = Float64Array.from(
    { length: 201 },
    (_, i) => 0.03 + 0.02 * (i / 200) + 0.2 * (i / 200) ** 30,
  );
  const zero: LatencyMs = { mean: 48.2, p50: 44.1, p90: 71.9, p99: 148, max: 231 };
  return {
    config: {
      model: { name: "meta-llama/Llama-2-70b-hf" },
      device: { name: "A100-80GB" },
      tensorParallel: 2,
      pipelineParallel: stages,
      replicas: 1,
      scheduler: { type: "sarathi-serve", chunkSize: 512, batchSizeCap: 128 },
      kv: { type: "paged" },
      predictor: { type: "vidur-profiles" },
      slo: [
        { metric: "ttft", quantile: 0.9, limit: 2 },
        { metric: "tbt", quantile: 0.99, limit: 0.15 },
      ],
      compatibility: "none",
    },
    requests: { arrivedAt },
    perRequest: { scheduledAt, firstTokenAt, completedAt },
    timeline,
    tbtQuantiles,
    summary: {
      requests,
      completed: requests,
      rejected: 0,
      unfinished: 0,
      batches,
      simulatedSeconds: now,
      throughput: {
        requestsPerSecond: 6.02,
        outputTokensPerSecond: 1340,
        totalTokensPerSecond: 7420,
      },
      goodput: { requestsPerSecond: 5.41, share: 0.899 },
      ttftMs: ms(firstTokenAt),
      tbtMs: zero,
      tpotMs: zero,
      e2eMs: ms(completedAt),
      normalizedLatencyMs: zero,
      schedulingDelayMs: ms(scheduledAt),
      preemptionMs: zero,
      fluidity: { index: 0.983, missRate: 0.017, shareAbove90: 0.961, onTimeShare: 0.991 },
      restarts: 12,
      batch: { meanRows: 61.2, meanTokens: 412, maxRows: 128 },
      utilization: {
        mfu: 0.412,
        kvUsed: 0.63,
        stageBusy: Array.from({ length: stages }, (_, i) => 0.91 - i * 0.04),
        bubbles: 0.083,
      },
      classes: [
        {
          name: "interactive",
          requests: Math.round(requests * 0.8),
          ttftMs: ms(firstTokenAt),
          e2eMs: ms(completedAt),
        },
        {
          name: "batch",
          requests: Math.round(requests * 0.2),
          ttftMs: ms(completedAt),
          e2eMs: ms(completedAt),
        },
      ],
      kv: { blocks: 11_204, blockTokens: 16, mappedPages: 0, fragmentation: 0.024 },
      slo: [
        {
          term: "ttft p90",
          limit: 2,
          value: ms(firstTokenAt).p90 / 1e3,
          met: ms(firstTokenAt).p90 <= 2000,
        },
        { term: "tbt p99", limit: 0.15, value: tbtQuantiles[198] ?? 0, met: false },
      ],
      flags: {
        extrapolatedSteps: 184,
        unfitted: ["LM head of models with a vocabulary above 100k"],
      },
      seed,
    },
  };
}

function batchSample(
  rng: Rng,
  count: number,
  stages: number,
  until: number,
): NonNullable<SimulationRun["timeline"]> {
  const step = until / count;
  const startsAt = Float64Array.from({ length: count }, (_, i) => i * step);
  const wave = (i: number): number =>
    0.55 + 0.35 * Math.sin((i / count) * 9) * Math.sin((i / count) * 31);
  const decodeRows = Int32Array.from(startsAt, (_, i) =>
    Math.round(wave(i) * 110 + rng.next() * 12),
  );
  const prefillTokens = Int32Array.from(decodeRows, (d) => (rng.next() < 0.4 ? 512 - d : 0));
  const stageStartsAt = new Float64Array(count * stages);
  const stageEndsAt = new Float64Array(count * stages);
  for (let b = 0; b < count; b++)
    for (let s = 0; s < stages; s++) {
      const at = (startsAt[b] ?? 0) + s * step * 0.95;
      stageStartsAt[b * stages + s] = at;
      stageEndsAt[b * stages + s] = at + step * ((prefillTokens[b] ?? 0) > 0 ? 0.95 : 0.62);
    }
  return {
    count,
    replica: new Int32Array(count),
    startsAt,
    endsAt: startsAt.map((t) => t + step),
    prefillTokens,
    decodeRows,
    kvUsedShare: Float32Array.from(startsAt, (_, i) => Math.min(1, wave(i) + 0.08)),
    waiting: Int32Array.from(startsAt, (_, i) =>
      Math.max(0, Math.round((wave(i) - 0.7) * 40 + rng.next() * 3)),
    ),
    stageStartsAt,
    stageEndsAt,
    stages,
  };
}

function summarize(samples: Float64Array): LatencyMs {
  const sorted = samples.slice().sort();
  const at = (q: number): number => sorted[Math.round(q * (sorted.length - 1))] ?? Number.NaN;
  const mean = sorted.reduce((s, v) => s + v, 0) / sorted.length;
  return { mean, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

/** A reproduction with claims, bars and curves. */
export function reproduceSample(): ReproduceReportInput {
  const row = (claim: string, theirs: number | null, ours: number, unit: string) =>
    ({
      claim,
      theirs,
      ours,
      low: ours * 0.94,
      high: ours * 1.05,
      kind: "simulated",
      n: 20_000,
      seed: 1,
      unit,
    }) as const;
  const curve = (name: string, scale: number, bend: number) => ({
    name,
    points: Array.from({ length: 12 }, (_, i) => ({
      x: 0.25 * (i + 1),
      y: scale * (0.2 + Math.exp((i + 1 - bend) / 1.7)),
      low: scale * 0.92 * (0.2 + Math.exp((i + 1 - bend) / 1.7)),
      high: scale * 1.08 * (0.2 + Math.exp((i + 1 - bend) / 1.7)),
    })),
  });
  return {
    result: {
      paper: "Sarathi-Serve (OSDI 2024)",
      rows: [
        row(
          "Capacity of Mistral-7B on one A100 under a strict SLO, against vLLM",
          2.6,
          2.48,
          "times",
        ),
        row("Capacity of Yi-34B on two A100 under a strict SLO, against vLLM", 3.7, 3.31, "times"),
        row(
          "Capacity of Falcon-180B on eight A100 with pipelines, against vLLM",
          5.6,
          5.72,
          "times",
        ),
        row("Overhead of chunks of 512 tokens over whole prefills", 0.25, 0.148, "share"),
        row("Median TTFT at half of capacity", null, 0.212, "s"),
      ],
    },
    figures: [
      {
        kind: "capacity",
        title: "Figure 10: capacity under a strict SLO, Mistral-7B",
        xLabel: "requests per second",
        rows: [
          { label: "orca", paper: { value: 0.72 }, ours: { value: 0.81, low: 0.77, high: 0.85 } },
          { label: "vllm-v0", paper: { value: 1.42 }, ours: { value: 1.47, low: 1.4, high: 1.52 } },
          {
            label: "sarathi-serve",
            paper: { value: 3.69 },
            ours: { value: 3.64, low: 3.5, high: 3.8 },
          },
        ],
        caption: "openchat_sharegpt4, P99 TBT of 100 ms.",
      },
      {
        kind: "curves",
        title: "Figure 12: P99 TBT over load",
        x: { label: "requests per second" },
        y: { label: "P99 TBT, s", log: true },
        theirs: [curve("vllm-v0", 0.3, 6), curve("sarathi-serve", 0.08, 9)],
        ours: [curve("vllm-v0", 0.27, 6.2), curve("sarathi-serve", 0.085, 8.8)],
        caption: "Read off the published figure; bands are our intervals.",
      },
    ],
    differences: ["The paper's traces were resampled; ours come from the published token counts."],
  };
}
