/** Vidur-Search (MLSys 2024, section 6): what it costs to find the best deployment of LLaMA2-70B without GPUs. */
import type { ReproduceOptions, ReproduceRow, Reproduction } from "@millrace/core";
import { ForkPool } from "@millrace/core/node";
import type { WorkloadSpec } from "@millrace/serving";
import { findDevice } from "../catalogue/devices.ts";
import { findModel } from "../catalogue/models.ts";
import { planSchema } from "../config/plan.ts";
import { resolvePlan } from "../config/resolve-plan.ts";
import {
  type PlanSpec,
  plan,
  type SearchJob,
  type SearchOutcome,
  searchWorker,
} from "../search/index.ts";
import type { PlanResult } from "../types.ts";

/** Workloads of 4K tokens at most, as in the paper; its third one (BWB) is not public, its chat traces are LMSys's. */
const shapes = ["azure-conv-2023", "arxiv-summarization"] as const;
/** Section 6: TTFT P90 under 2 s, TBT P99 under 200 ms; devices, degrees, schedulers and batch sizes searched. */
const question = {
  model: "llama-2-70b",
  load: { qps: 20, peakFactor: 1, spareReplicas: 0 },
  slo: { ttftMs: { p90: 2000 }, tbtMs: { p99: 200 } },
  space: {
    devices: ["a100-80gb", "h100"],
    tensorParallel: [1, 2, 4],
    pipelineParallel: [1, 2, 4],
    schedulers: ["vllm-v0", "orca", "sarathi-serve"],
    chunkSizes: [512, 1024, 2048],
    batchSizeCaps: [32, 64, 128, 256, 512],
  },
};

function specOf(shape: string, options: ReproduceOptions): PlanSpec {
  const workload: WorkloadSpec = { lengths: { type: "shape", name: shape }, maxTokens: 4096 };
  const input = planSchema.parse({ ...question, workload: { shape }, seed: options.seed });
  const spec = resolvePlan(input, workload, {
    findModel,
    findDevice,
    locate: () => undefined,
    filePath: (path: string) => path,
    longestRequest: 4096,
  });
  return options.quick
    ? { ...spec, confirmation: { requests: 2_000, seeds: 1, finalists: 3 } }
    : spec;
}

function rowsOf(shape: string, result: PlanResult, options: ReproduceOptions): ReproduceRow[] {
  const prices = question.space.devices.map((name) => findDevice(name).dollarsPerHour);
  const common = { kind: "simulated" as const, n: result.simulatedRequests, seed: options.seed };
  const one = (value: number) => ({ ours: value, low: value, high: value });
  const setting = `LLaMA2-70B, ${shape}, ${result.judged} configurations judged by ${result.simulations} simulations`;
  const winner = result.best;
  return [
    {
      claim: `${shape}: time to find the best deployment`,
      theirs: 60,
      ...one(result.elapsedMs / 60_000),
      unit: "min",
      ...common,
      note: `${setting}`,
    },
    {
      claim: `${shape}: GPU hours that running the same load would have taken`,
      theirs: 42_000,
      ...one(result.simulatedGpuHours),
      unit: "GPU h",
      ...common,
      note: `${setting}`,
    },
    {
      claim: `${shape}: dollars avoided`,
      theirs: 218_000,
      ours: result.simulatedGpuHours * Math.min(...prices),
      low: result.simulatedGpuHours * Math.min(...prices),
      high: result.simulatedGpuHours * Math.max(...prices),
      unit: "$",
      ...common,
      note: "all hours at the price of the cheapest device … of the dearest",
    },
    ...(winner === null
      ? []
      : [
          {
            claim: `${shape}: QPS per dollar of the best deployment`,
            theirs: null,
            ...one(winner.qpsPerDollar),
            unit: "qps/($/h)",
            ...common,
            note: `${winner.gpus / winner.replicasNeeded} x ${winner.config.device}, TP ${winner.config.tensorParallel} x PP ${winner.config.pipelineParallel}, ${winner.config.scheduler}, chunk ${winner.config.chunkSize}, batch ${winner.config.batchSizeCap}`,
          },
        ]),
  ];
}

/** Plans for each workload; the figures are the search's own account of its cost. */
export async function reproduceVidur(options: ReproduceOptions): Promise<Reproduction> {
  const rows: ReproduceRow[] = [];
  const unfitted = new Set<string>();
  await using executor = new ForkPool<SearchJob, SearchOutcome>({ module: searchWorker });
  for (const shape of options.quick ? shapes.slice(0, 1) : shapes) {
    const result = await plan(specOf(shape, options), {
      executor,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onProgress: (p) => options.onProgress?.(p.done, p.total, `${shape}, ${p.phase}`),
    });
    rows.push(...rowsOf(shape, result, options));
    for (const u of result.best?.unfitted ?? []) unfitted.add(u);
  }
  return {
    schema: "millrace.reproduce/1",
    paper: "vidur",
    title: "Vidur-Search: the best deployment without GPUs",
    rows,
    unfitted: [...unfitted],
  };
}
