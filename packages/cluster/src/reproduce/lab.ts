/** Runs of the paper's settings, remembered; and rows over seeds made from them. */
import { type ReproduceOptions, type ReproduceRow, spread } from "@millrace/core";
import type { AllocatorName } from "../allocator/registry.ts";
import type { PolicyName } from "../policy/policy.ts";
import {
  type ClusterShape,
  type Experiment,
  plainExperiment,
  runExperiment,
  synergyCluster,
} from "../simulator/experiment.ts";
import type { Model } from "../simulator/from-trace.ts";
import { summarizeJct } from "../simulator/metrics.ts";
import { generateTrace, gpuCounts, synergyMix } from "../trace/generate.ts";
import type { TraceJob } from "../trace/job-trace.ts";

export type Mix = readonly [number, number, number];

/** One published setting. */
export interface Setting {
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

/** What came of one run. */
export interface Measured {
  readonly jctHours: number;
  /** Mean hours from the first start to the end. */
  readonly runningHours: number;
  readonly makespanHours: number;
  /** Model of the job that ended last. */
  readonly lastModel: string;
}

/** The trace of a setting. */
export function traceOf(
  { rate, mix, jobs, gpus = "single", lengths = "gavel" }: Setting,
  models: ReadonlyMap<string, Pick<Model, "iterationSeconds">>,
  seed: number,
): readonly TraceJob[] {
  return generateTrace({
    jobs,
    seed,
    arrivals: rate === null ? { kind: "static" } : { kind: "poisson", jobsPerHour: rate },
    classes: synergyMix(...mix),
    gpus: gpuCounts[gpus],
    lengths,
    iterationSeconds: (model) => models.get(model)?.iterationSeconds ?? 1,
  });
}

/** Runs every setting once per seed and allocator; what was run is remembered. */
export class Lab {
  readonly options: ReproduceOptions;
  readonly models: ReadonlyMap<string, Model>;
  /** Seeds of a row. */
  readonly seeds: readonly number[];
  private readonly known = new Map<string, Measured>();
  private readonly total: number;
  private done = 0;

  /** `total` is about how many runs there will be. */
  constructor(options: ReproduceOptions, models: ReadonlyMap<string, Model>, total: number) {
    this.options = options;
    this.models = models;
    this.total = total;
    const { quick, seed } = options;
    this.seeds = Array.from({ length: quick ? 1 : 3 }, (_, i) => seed + i);
  }

  async measure(setting: Setting, allocator: AllocatorName, seed: number): Promise<Measured> {
    const key = JSON.stringify([setting, allocator, seed]);
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const { policy, jobs, cluster = synergyCluster, window = [0, jobs] } = setting;
    this.step(`${policy}, ${allocator}`);
    const trace = traceOf(setting, this.models, seed);
    const experiment: Experiment = { ...plainExperiment, cluster, policy, allocator };
    const {
      jct,
      result,
      summary,
      jobs: specs,
    } = await runExperiment(trace, this.models, experiment);
    const running = result.finish.map((at, i) => at - (result.firstStart[i] as number));
    let last = 0;
    result.finish.forEach((at, i) => {
      if (at > (result.finish[last] as number)) last = i;
    });
    const measured = {
      jctHours: summarizeJct(jct.subarray(...window)).mean,
      runningHours: summarizeJct(running.subarray(...window)).mean,
      makespanHours: summary.makespanHours,
      lastModel: specs[last]?.model ?? "",
    };
    this.known.set(key, measured);
    return measured;
  }

  /** One more run begins. Throws when the reproduction is to stop. */
  step(what: string): void {
    this.options.signal?.throwIfAborted();
    this.options.onProgress?.(++this.done, Math.max(this.total, this.done), what);
  }

  /** Proportional (or `base`) over the other, by seed. */
  ratio(
    setting: Setting,
    base: AllocatorName,
    other: AllocatorName,
    of: (measured: Measured) => number = ({ jctHours }) => jctHours,
  ): (seed: number) => Promise<number> {
    return async (seed) =>
      of(await this.measure(setting, base, seed)) / of(await this.measure(setting, other, seed));
  }

  /** A row of these values. */
  row(
    claim: string,
    theirs: number | null,
    unit: string,
    values: readonly number[],
    n: number,
    note: string,
  ): ReproduceRow {
    const { seed } = this.options;
    return { claim, theirs, ...spread(values), unit, n, seed, kind: "simulated", note };
  }

  /** A row over the seeds. */
  async over(
    claim: string,
    theirs: number | null,
    unit: string,
    setting: Setting,
    of: (seed: number) => Promise<number>,
    note: string,
  ): Promise<ReproduceRow> {
    const values: number[] = [];
    for (const seed of this.seeds) values.push(await of(seed));
    return this.row(claim, theirs, unit, values, setting.jobs, `${text(setting)}; ${note}`);
  }
}

/** A setting in words. */
export function text({ rate, mix, policy }: Setting): string {
  const load = rate === null ? "all at the start" : `${Number(rate.toPrecision(3))} jobs/h`;
  return `${policy.toUpperCase()}, ${mix.join(":")}, ${load}`;
}
