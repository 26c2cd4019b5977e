/**
 * The analysis of a job: measured rates, the split of its epoch into compute, prep stall and fetch stall by the
 * differential method of DS-Analyzer (three runs that differ in one stage each), and the stall model's answers.
 */

import { InvariantError, mean } from "@millrace/core";
import { type MachineFacts, machineFacts } from "../experiments/bounds.ts";
import { JobProcess } from "../experiments/job-process.ts";
import type { JobSpec } from "../experiments/job-protocol.ts";
import { type EpochEstimate, estimateEpoch, type Setting } from "../stall-model/epoch.ts";
import { type CachePolicy, cachePolicies } from "../stall-model/hit-rate.ts";
import type { JobRates } from "../stall-model/rates.ts";
import {
  type PolicyAnswer,
  policyAnswers,
  type Resource,
  type Sufficient,
  smallestSufficient,
  whatIf,
} from "../stall-model/what-if.ts";
import type { CommandTimes } from "./command.ts";
import { difference, type Measured, measured } from "./interval.ts";
import {
  jobRates,
  type MeasuredRates,
  type MeasureRatesOptions,
  measureRates,
} from "./measure-rates.ts";

export interface AnalyzeOptions extends MeasureRatesOptions {
  /** Samples and bytes of the whole data set. */
  readonly samples: number;
  readonly bytes: number;
  /** Samples per second that the job's accelerators take; null: the command tells. */
  readonly ingestionRate: number | null;
  /** Times of a real training command (timeCommand): its ingestion rate and its split instead of an emulated job's. */
  readonly command?: CommandTimes;
  /** What the job has, or would have. */
  readonly setting: Setting;
  /** Further questions: a resource at a value. */
  readonly questions?: readonly { readonly resource: Resource; readonly value: number }[];
}

/** Where an epoch's time goes, scaled to the whole data set; seconds. */
export interface EpochSplit {
  readonly compute: number;
  readonly prepStall: Measured;
  readonly fetchStall: Measured;
  /** The epoch without any cache, as measured. */
  readonly coldEpoch: Measured;
  /** With everything cached. */
  readonly cachedEpoch: Measured;
}

/** `millrace.data-analyze/1`. */
export interface DataAnalysis {
  readonly schema: "millrace.data-analyze/1";
  readonly dataset: { readonly path: string; readonly samples: number; readonly bytes: number };
  readonly machine: MachineFacts;
  readonly date: string;
  readonly storageKind: "measured" | "emulated";
  readonly rates: JobRates;
  readonly measuredRates: MeasuredRates;
  readonly split: EpochSplit;
  /** Whose split it is: of a job of ours with an emulated accelerator, or of the user's own command. */
  readonly splitOf: "emulated accelerator" | "command";
  readonly setting: Setting;
  /** The epoch that the model expects of this setting. */
  readonly now: EpochEstimate;
  /** For each resource the least that suffices, all else as it is. */
  readonly sufficient: readonly Sufficient[];
  readonly questions: readonly {
    readonly resource: Resource;
    readonly value: number;
    readonly estimate: EpochEstimate;
  }[];
  /** The same cache under other policies. */
  readonly policies: readonly PolicyAnswer[];
  /** Throughput over cached shares, by policy. */
  readonly cacheCurve: readonly {
    readonly policy: CachePolicy;
    readonly points: readonly { readonly share: number; readonly samplesPerSecond: number }[];
  }[];
  /** Several jobs on this server: samples per second of each, apart and coordinated. */
  readonly jobs: readonly {
    readonly jobs: number;
    readonly apart: number;
    readonly coordinated: number;
  }[];
  readonly seed: number;
  /** What casts doubt on the figures. */
  readonly remarks: readonly string[];
}

/** Measures (minutes) and answers. Throws MillraceError of the data set or of a job that could not run. */
export async function analyzeData(options: AnalyzeOptions, date: string): Promise<DataAnalysis> {
  const { samples, setting, seed, signal } = options;
  const ingestionRate = ingestionOf(options);
  const measuredRates = await measureRates(options);
  const { bytes } = options;
  // Samples of the data set are of its own mean size, not of that of the items measured with.
  const rates = {
    ...jobRates(measuredRates, samples, ingestionRate),
    bytesPerSample: bytes / samples,
  };
  const split =
    options.command === undefined
      ? await splitEpoch(options, samples, ingestionRate)
      : splitOf(options.command, samples, seed);
  signal?.throwIfAborted();
  const resources: readonly Resource[] = [
    "cacheBytes",
    "cores",
    "storage",
    "accelerator",
    "jobs",
    ...(rates.networkBytesPerSecond !== undefined && (setting.servers ?? 1) > 1
      ? (["network"] as const)
      : []),
  ];
  const shares = Array.from({ length: 21 }, (_, i) => i / 20);
  return {
    schema: "millrace.data-analyze/1",
    dataset: { path: options.dataset.path, samples, bytes },
    machine: machineFacts(),
    date,
    storageKind: measuredRates.storageKind,
    rates,
    measuredRates,
    split,
    splitOf: options.command === undefined ? "emulated accelerator" : "command",
    setting,
    now: estimateEpoch(rates, setting),
    sufficient: resources.map((resource) => smallestSufficient(rates, setting, resource)),
    questions: (options.questions ?? []).map(({ resource, value }) => ({
      resource,
      value,
      estimate: whatIf(rates, setting, resource, value),
    })),
    policies: policyAnswers(rates, setting),
    cacheCurve: cachePolicies
      .filter((policy) => policy !== "none")
      .map((policy) => ({
        policy,
        points: shares.map((share) => ({
          share,
          samplesPerSecond: estimateEpoch(rates, { ...setting, policy, cacheBytes: share * bytes })
            .samplesPerSecond,
        })),
      })),
    jobs: [1, 2, 4, 8].map((jobs) => ({
      jobs,
      apart: estimateEpoch(rates, { ...setting, jobs, coordinated: false }).samplesPerSecond,
      coordinated: estimateEpoch(rates, { ...setting, jobs, coordinated: true }).samplesPerSecond,
    })),
    seed,
    remarks: remarksOn(measuredRates),
  };
}

/** Signs that something else used the machine meanwhile. */
function remarksOn({ prep, storageBytesPerSecond }: MeasuredRates): string[] {
  const remarks: string[] = [];
  prep.forEach((point, i) => {
    const before = prep[i - 1];
    if (before !== undefined && point.samplesPerSecond.value < before.samplesPerSecond.value)
      remarks.push(
        `preparation was slower with ${point.cores} cores than with ${before.cores}: something else used the machine, or its cores share their units`,
      );
  });
  const rates = [...prep.map((point) => point.samplesPerSecond), storageBytesPerSecond];
  if (rates.some(({ value, low, high }) => high - low > 0.2 * value))
    remarks.push(
      "rates differed by more than a fifth between epochs: measure again on an idle machine",
    );
  return remarks;
}

function ingestionOf({ ingestionRate, command }: AnalyzeOptions): number {
  if (ingestionRate !== null) return ingestionRate;
  if (command === undefined) throw new InvariantError("neither a rate nor a command is given");
  return 1 / mean(command.synthetic);
}

/** From seconds per sample of a command's steps. */
function splitOf(times: CommandTimes, samples: number, seed: number): EpochSplit {
  const epochs = (phase: keyof CommandTimes) => times[phase].map((each) => each * samples);
  const cold = epochs("cold");
  const cached = epochs("cached");
  return {
    compute: mean(epochs("synthetic")),
    prepStall: difference(cached, epochs("synthetic"), seed),
    fetchStall: difference(cold, cached, seed),
    coldEpoch: measured(cold, seed),
    cachedEpoch: measured(cached, seed),
  };
}

/** The three runs: computing alone is known by its rate; with everything cached; with nothing cached. */
async function splitEpoch(
  options: AnalyzeOptions,
  samples: number,
  ingestionRate: number,
): Promise<EpochSplit> {
  const { setting, epochs = 3, seed } = options;
  const cores = Math.max(1, Math.min(Math.floor(setting.cores), options.cores.at(-1) ?? 1));
  const run = async (cache: JobSpec["cache"]): Promise<number[]> => {
    options.signal?.throwIfAborted();
    options.onProgress?.(
      0,
      1,
      cache === "none" ? "epochs without a cache" : "epochs from the cache",
    );
    await using job = await JobProcess.start(
      {
        dataset: options.dataset,
        items: options.items ?? 2000,
        prep: options.prep,
        batchSize: options.batchSize,
        workers: cores,
        inFlight: options.inFlight,
        seed,
        cache,
        cacheBytes: cache === "none" ? 0 : 2 ** 40,
        shuffle: true,
        ...(options.storage && {
          storage: cache === "none" ? options.storage : { bytesPerSecond: 1e15 },
        }),
      },
      { cores: Array.from({ length: cores }, (_, i) => i) },
    );
    await job.epoch(Number.POSITIVE_INFINITY);
    const seconds: number[] = [];
    for (let i = 0; i < epochs; i++) {
      options.signal?.throwIfAborted();
      // Scaled from the items that were used to the whole data set.
      seconds.push(((await job.epoch(ingestionRate)).seconds * samples) / job.items);
    }
    return seconds;
  };
  const cached = await run("minio");
  const cold = await run("none");
  const compute = samples / ingestionRate;
  return {
    compute,
    prepStall: difference(cached, [compute], seed),
    fetchStall: difference(cold, cached, seed),
    coldEpoch: measured(cold, seed),
    cachedEpoch: measured(cached, seed),
  };
}
