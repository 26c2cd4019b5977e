/** Sarathi-Serve (OSDI 2024): capacity under a P99 TBT SLO against Orca and vLLM. */
import {
  type ReproduceOptions,
  type ReproduceRow,
  type Reproduction,
  Rng,
  spread,
} from "@millrace/core";
import type { WorkloadSpec } from "@millrace/serving";
import { RooflineCost } from "../predictor/roofline/cost.ts";
import type { CapacityJob, CapacityOutcome } from "../search/job.ts";
import { createJobRunner } from "../search/run-job.ts";
import { describeWorkload } from "../search/workload.ts";
import type { SchedulerType, SloTerm } from "../types.ts";
import { type ExperimentDeployment, experimentConfig } from "./deployment.ts";
import { geometryOf } from "./experiment.ts";

/** Section 5, table 2 (recalled): median and P90 of prompt and output tokens, and the length above which requests are dropped. */
const datasets = {
  openchat_sharegpt4: { prompt: [1730, 5696], output: [415, 834], maxTokens: 8192 },
  arxiv_summarization: { prompt: [7059, 12985], output: [208, 371], maxTokens: 16384 },
} as const;
type Dataset = keyof typeof datasets;

interface Setting {
  readonly model: string;
  readonly title: string;
  /** Devices of one server; the paper's servers hold four A100 and are joined by 100 Gbit/s Ethernet (section 5). */
  readonly devicesPerServer: number;
  readonly systems: readonly System[];
  /** P99 TBT, seconds, and the token budget that the paper pairs with it (section 5.1). */
  readonly slos: readonly {
    readonly name: string;
    readonly tbt: number;
    readonly chunkSize: number;
  }[];
  /** The paper's headline gain, and against whom. */
  readonly headline: {
    readonly claim: string;
    readonly theirs: number;
    readonly over: readonly SchedulerType[];
  };
}

/** A scheduler on a layout of the devices; the batch sizes are those of the published experiments. */
interface System {
  readonly type: SchedulerType;
  readonly batchSizeCap: number;
  readonly tensorParallel: number;
  readonly pipelineParallel: number;
}

const systemsOn = (tensorParallel: number, pipelineParallel: number): System[] => [
  { type: "orca", batchSizeCap: 16, tensorParallel, pipelineParallel },
  { type: "vllm-v0", batchSizeCap: 128, tensorParallel, pipelineParallel },
];

const settings: readonly Setting[] = [
  {
    model: "mistral-7b",
    title: "Mistral-7B on one A100",
    devicesPerServer: 4,
    systems: [
      ...systemsOn(1, 1),
      { type: "sarathi-serve", batchSizeCap: 128, tensorParallel: 1, pipelineParallel: 1 },
    ],
    slos: [
      { name: "strict", tbt: 0.1, chunkSize: 512 },
      { name: "relaxed", tbt: 0.5, chunkSize: 2048 },
    ],
    headline: {
      claim: "Mistral-7B on one A100: capacity over vLLM v0, up to",
      theirs: 2.6,
      over: ["vllm-v0"],
    },
  },
  {
    model: "falcon-180b",
    title: "Falcon-180B on eight A100",
    devicesPerServer: 4,
    systems: [
      ...systemsOn(4, 2),
      ...systemsOn(8, 1),
      { type: "sarathi-serve", batchSizeCap: 128, tensorParallel: 4, pipelineParallel: 2 },
    ],
    slos: [
      { name: "strict", tbt: 1, chunkSize: 512 },
      { name: "relaxed", tbt: 5, chunkSize: 2048 },
    ],
    headline: {
      claim: "Falcon-180B on eight A100: capacity over Orca and vLLM v0, up to",
      theirs: 6.9,
      over: ["orca", "vllm-v0"],
    },
  },
];

/** Standard normal quantile at 0.9: the ratio of P90 to median of a log-normal is exp(sigma x this). */
const Z90 = 1.2815515655446004;

/** Lengths as table 2 describes them: log-normal with its median and P90; longer requests than the limit are drawn again. */
function lengths(
  dataset: Dataset,
  count: number,
  seed: number,
): { prompt: Int32Array; output: Int32Array } {
  const { prompt, output, maxTokens } = datasets[dataset];
  const rng = new Rng(seed).fork(dataset);
  const draw = ([median, p90]: readonly [number, number]): number =>
    Math.max(1, Math.round(median * Math.exp((rng.normal() * Math.log(p90 / median)) / Z90)));
  const out = { prompt: new Int32Array(count), output: new Int32Array(count) };
  for (let i = 0; i < count; ) {
    const p = draw(prompt);
    const o = draw(output);
    if (p + o > maxTokens) continue;
    out.prompt[i] = p;
    out.output[i++] = o;
  }
  return out;
}

function capacityJob(
  setting: Setting,
  dataset: Dataset,
  slo: Setting["slos"][number],
  s: System,
  requests: number,
  seed: number,
): CapacityJob {
  const terms: SloTerm[] = [
    { metric: "tbt", quantile: 0.99, limit: slo.tbt },
    // Section 5.1: the median scheduling delay may not exceed 2 s.
    { metric: "schedulingDelay", quantile: 0.5, limit: 2 },
  ];
  const deployment: ExperimentDeployment = {
    model: setting.model,
    device: "a100-80gb",
    tensorParallel: s.tensorParallel,
    pipelineParallel: s.pipelineParallel,
    scheduler: s.type,
    chunkSize: slo.chunkSize,
    batchSizeCap: s.batchSizeCap,
    maxRequestTokens: datasets[dataset].maxTokens,
    slo: terms,
  };
  const published = experimentConfig(deployment, seed);
  const config = {
    ...published,
    device: { ...published.device, devicesPerServer: setting.devicesPerServer },
  };
  const drawn = lengths(dataset, requests, seed);
  const spec: WorkloadSpec = {
    arrivals: { type: "poisson", qps: 1 },
    lengths: { type: "trace", path: dataset, order: "file" },
    requests,
  };
  const traces = {
    [dataset]: {
      count: requests,
      arrivedAt: null,
      promptTokens: drawn.prompt,
      outputTokens: drawn.output,
    },
  };
  return {
    kind: "capacity",
    deployment: config,
    geometry: geometryOf(config),
    workload: describeWorkload(spec, { traces })(requests, seed),
    timeScale: 1,
    tolerance: 0.03,
    startQps: null,
    spread: 0,
    peakQps: null,
  };
}

/** Capacities of one system in one cell (setting, data set, SLO), one per seed. */
interface Cell {
  readonly system: System;
  readonly capacities: readonly number[];
}

const layout = (s: System): string => `TP ${s.tensorParallel} x PP ${s.pipelineParallel}`;

/** The largest median gain of Sarathi-Serve over a baseline that serves at all; every layout of a baseline counts. */
function headlineRow(
  setting: Setting,
  cells: ReadonlyMap<string, readonly Cell[]>,
  n: number,
  seed: number,
): ReproduceRow {
  let best: { gain: readonly number[]; where: string } | null = null;
  for (const [where, systems] of cells) {
    const ours = systems.find((c) => c.system.type === "sarathi-serve");
    for (const other of systems) {
      if (ours === undefined || !setting.headline.over.includes(other.system.type)) continue;
      const gain = ours.capacities.map((q, i) => q / (other.capacities[i] ?? Number.NaN));
      if (!gain.every(Number.isFinite)) continue;
      const name = `${where}, over ${other.system.type} on ${layout(other.system)}`;
      if (best === null || spread(gain).ours > spread(best.gain).ours) best = { gain, where: name };
    }
  }
  return {
    claim: setting.headline.claim,
    theirs: setting.headline.theirs,
    ...spread(best?.gain ?? []),
    unit: "x",
    kind: "simulated",
    n,
    seed,
    note: best === null ? "no baseline meets the SLO at any rate" : best.where,
  };
}

/** Runs the experiments: one capacity search per setting, data set, SLO, system and seed. */
export async function reproduceSarathiServe(options: ReproduceOptions): Promise<Reproduction> {
  const requests = options.quick ? 512 : 2048;
  const seeds = Array.from({ length: options.quick ? 1 : 3 }, (_, i) => options.seed + i);
  const run = createJobRunner({ makeCost: (config) => new RooflineCost(config) });
  const rows: ReproduceRow[] = [];
  const unfitted = new Set<string>();
  const names = Object.keys(datasets) as Dataset[];
  const total =
    settings.reduce((sum, s) => sum + s.slos.length * s.systems.length, 0) *
    names.length *
    seeds.length;
  let done = 0;
  for (const setting of settings) {
    const cells = new Map<string, Cell[]>();
    for (const dataset of names) {
      for (const slo of setting.slos) {
        const where = `${dataset}, ${slo.name}`;
        for (const system of setting.systems) {
          const capacities: number[] = [];
          for (const seed of seeds) {
            options.signal?.throwIfAborted();
            options.onProgress?.(done++, total, `${setting.title}, ${where}, ${system.type}`);
            const outcome = (await run(
              capacityJob(setting, dataset, slo, system, requests, seed),
            )) as CapacityOutcome;
            capacities.push(outcome.lowQps);
            for (const u of outcome.unfitted) unfitted.add(u);
          }
          cells.set(where, [...(cells.get(where) ?? []), { system, capacities }]);
          rows.push({
            claim: `${setting.title}, ${where} (P99 TBT ${slo.tbt} s): ${system.type} on ${layout(system)}`,
            theirs: null,
            ...spread(capacities),
            unit: "qps",
            kind: "simulated",
            n: requests,
            seed: options.seed,
            note:
              system.type === "sarathi-serve"
                ? `token budget ${slo.chunkSize}`
                : `batch ${system.batchSizeCap}`,
          });
        }
      }
    }
    rows.push(headlineRow(setting, cells, requests, options.seed));
  }
  return {
    schema: "millrace.reproduce/1",
    paper: "sarathi-serve",
    title: "Sarathi-Serve: capacity under a tail TBT SLO",
    rows,
    unfitted: [...unfitted],
  };
}
