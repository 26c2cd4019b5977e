/** The experiments of Synergy (Mohan et al., OSDI 2022) on the house's simulator, costs of restarts left out as theirs are. */
import {
  type Reproduce,
  type ReproduceOptions,
  type ReproduceRow,
  type Reproduction,
  spread,
} from "@millrace/core";
import type { AllocatorName } from "../allocator/registry.ts";
import type { PolicyName } from "../policy/policy.ts";
import {
  type ClusterShape,
  type Experiment,
  plainExperiment,
  runExperiment,
  synergyCluster,
} from "../simulator/experiment.ts";
import { summarizeJct } from "../simulator/metrics.ts";
import { generateTrace, gpuCounts, synergyMix } from "../trace/generate.ts";
import { publishedMix } from "./published-mix.ts";

type Mix = readonly [number, number, number];

/** One published setting. */
interface Setting {
  readonly policy: PolicyName;
  /** Null: all jobs are there at the start. */
  readonly rate: number | null;
  readonly mix: Mix;
  readonly jobs: number;
  readonly cluster?: ClusterShape;
  readonly gpus?: "single" | "multi";
  readonly lengths?: "gavel" | "short";
  /** Rows of the trace whose completion times count; all by default. The paper takes jobs 4000 to 4999. */
  readonly window?: readonly [number, number];
}

interface Measured {
  readonly jctHours: number;
  readonly makespanHours: number;
}

/** Runs every setting once per seed and allocator; what was run is remembered. */
class Lab {
  private readonly models = publishedMix();
  private readonly known = new Map<string, Measured>();
  private done = 0;

  private readonly options: ReproduceOptions;
  private readonly total: number;

  constructor(options: ReproduceOptions, total: number) {
    this.options = options;
    this.total = total;
  }

  async measure(setting: Setting, allocator: AllocatorName, seed: number): Promise<Measured> {
    const key = JSON.stringify([setting, allocator, seed]);
    const known = this.known.get(key);
    if (known !== undefined) return known;
    this.options.signal?.throwIfAborted();
    const { policy, rate, mix, jobs, cluster = synergyCluster, gpus = "single", window } = setting;
    const { lengths = "gavel" } = setting;
    const trace = generateTrace({
      jobs,
      seed,
      arrivals: rate === null ? { kind: "static" } : { kind: "poisson", jobsPerHour: rate },
      classes: synergyMix(...mix),
      gpus: gpuCounts[gpus],
      lengths,
      iterationSeconds: (model) => this.models.get(model)?.iterationSeconds ?? 1,
    });
    const experiment: Experiment = { ...plainExperiment, cluster, policy, allocator };
    const { jct, summary } = await runExperiment(trace, this.models, experiment);
    const jctHours = summarizeJct(jct.subarray(...(window ?? [0, jobs]))).mean;
    const measured = { jctHours, makespanHours: summary.makespanHours };
    this.known.set(key, measured);
    this.options.onProgress?.(
      ++this.done,
      Math.max(this.total, this.done),
      `${policy}, ${allocator}`,
    );
    return measured;
  }
}

const text = ({ rate, mix, policy }: Setting): string =>
  `${policy.toUpperCase()}, ${mix.join(":")}, ${rate === null ? "all at the start" : `${rate} jobs/h`}`;

/** Runs the reproduction. */
export const reproduceSynergy: Reproduce = async (options): Promise<Reproduction> => {
  const { quick, seed } = options;
  const seeds = Array.from({ length: quick ? 1 : 3 }, (_, i) => seed + i);
  const jobs = quick ? 400 : 2000;
  const lab = new Lab(options, quick ? 30 : 90);
  const rows: ReproduceRow[] = [];
  const add = async (
    claim: string,
    theirs: number | null,
    unit: string,
    setting: Setting,
    of: (seed: number) => Promise<number>,
    note: string,
  ): Promise<void> => {
    const values: number[] = [];
    for (const s of seeds) values.push(await of(s));
    const row = { claim, theirs, ...spread(values), unit, n: setting.jobs, seed };
    rows.push({ ...row, kind: "simulated", note: `${text(setting)}; ${note}` });
  };
  const ratio =
    (setting: Setting, base: AllocatorName, other: AllocatorName) => async (s: number) =>
      (await lab.measure(setting, base, s)).jctHours /
      (await lab.measure(setting, other, s)).jctHours;
  const over = "mean JCT of proportional over that of";

  for (const policy of ["fifo", "srtf", "las"] as const) {
    const setting: Setting = { policy, rate: 9, mix: [20, 70, 10], jobs };
    await add(
      `${over} Tune, ${policy.toUpperCase()} at 9 jobs/h`,
      null,
      "x",
      setting,
      ratio(setting, "proportional", "tune"),
      "128 GPUs; proportional is overloaded (118 %)",
    );
  }
  const long = quick ? 2400 : 6600;
  const window = quick ? ([1500, 2000] as const) : ([4000, 5000] as const);
  const edge: Setting = { policy: "fifo", rate: 8, mix: [20, 70, 10], jobs: long, window };
  await add(
    `${over} Tune just above what proportional can serve`,
    3.4,
    "x",
    edge,
    ratio(edge, "proportional", "tune"),
    `jobs ${window[0]} to ${window[1] - 1}; 105 % load for proportional, whose queue grows, and less than 100 % for Tune`,
  );
  const beyond: Setting = { policy: "fifo", rate: 9, mix: [33, 33, 33], jobs: long, window };
  for (const allocator of ["tune", "waterfill"] as const)
    await add(
      `${over} ${allocator === "tune" ? "Tune" : "water-filling"} at 118 % load`,
      null,
      "x",
      beyond,
      ratio(beyond, "proportional", allocator),
      `jobs ${window[0]} to ${window[1] - 1}`,
    );
  const within: Setting = { policy: "fifo", rate: 7, mix: [50, 0, 50], jobs };
  await add(
    `${over} Tune at 92 % load`,
    null,
    "x",
    within,
    ratio(within, "proportional", "tune"),
    "what is left of the gain where both keep up",
  );
  const fixed: Setting = {
    policy: "fifo",
    rate: null,
    mix: [60, 30, 10],
    jobs: 100,
    cluster: { ...synergyCluster, servers: 4 },
  };
  // A makespan is the end of one job: what it gains on one trace says little, so there are many.
  const traces = Array.from({ length: quick ? 5 : 40 }, (_, i) => seed + i);
  const ratios: number[] = [];
  for (const s of traces)
    ratios.push(
      (await lab.measure(fixed, "proportional", s)).makespanHours /
        (await lab.measure(fixed, "tune", s)).makespanHours,
    );
  const sensitive = ratios.filter((value) => value >= 1.39).length;
  rows.push({
    claim: "makespan of proportional over that of Tune, 100 jobs at once on 32 GPUs",
    theirs: 1.39,
    ...spread(ratios),
    unit: "x",
    n: fixed.jobs,
    seed,
    kind: "simulated",
    note: `${text(fixed)}; the shape of their physical experiment, theirs is of one trace in their simulator; ${traces.length} traces, ${sensitive} of them at 1.39 or more: the last job to end decides, and it gains only where it is sensitive`,
  });
  const exact: Setting = { policy: "srtf", rate: 7, mix: [50, 0, 50], jobs: quick ? 150 : 500 };
  await add(
    "mean JCT of Tune above that of OPT",
    10,
    "%",
    exact,
    async (s) => 100 * ((await ratio(exact, "tune", "opt")(s)) - 1),
    "the paper says within 10 %",
  );
  const mixed: Setting = { policy: "srtf", rate: 7, mix: [50, 0, 50], jobs };
  await add(
    "mean JCT of Tune over that of water-filling",
    null,
    "x",
    mixed,
    ratio(mixed, "tune", "waterfill"),
    "intermediate points of the curves and sticky placement, not in the paper",
  );
  await add(
    "mean JCT of water-filling above the packing-free reference",
    null,
    "%",
    mixed,
    async (s) => 100 * ((await ratio(mixed, "waterfill", "pooled")(s)) - 1),
    "what packing into servers costs",
  );
  return {
    schema: "millrace.reproduce/1",
    paper: "synergy",
    title: "Synergy: resource-sensitive DNN scheduling in multi-tenant clusters (OSDI 2022)",
    rows,
    unfitted: [],
  };
};
