/** Sarathi-Serve's claim on this machine: capacity under a TBT limit of three schedulers, predicted and measured side by side. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ReproduceOptions, type ReproduceRow, spread } from "@millrace/core";
import { makeModel, type PresetName } from "@millrace/ggml/gguf";
import type { SchedulerName } from "@millrace/serving";
import { Session } from "../session.ts";
import { usualKnobs } from "./candidates.ts";
import { type CapacityQuestion, compareCapacities, type SchedulerCapacity } from "./capacity.ts";
import { calibrateOptionsOf } from "./options.ts";
import { learn } from "./pipeline.ts";
import { promised } from "./words.ts";

/** Lengths and promises that capacity is compared under; a pause of twice a chunk of 128 and its decodes is a stall. */
export const capacityQuestion: Omit<CapacityQuestion, "knobs" | "seed"> = {
  lengths: { type: "range", prompt: { min: 16, max: 256 }, output: { min: 8, max: 32 } },
  slo: [
    { metric: "ttft", quantile: 0.9, limitSeconds: 2 },
    { metric: "tbt", quantile: 0.99, limitSeconds: 0.4 },
  ],
  seconds: 22,
  // Below it a 90th percentile has no ten samples beyond it.
  leastRequests: 101,
  rounds: 2,
  // The pressure of few long stalls grows by leaps: between rates far apart nothing says where it crosses.
  moreRounds: 2,
};
export const comparedSchedulers: readonly SchedulerName[] = ["sarathi-serve", "vllm-v0", "orca"];

interface Scale {
  readonly preset: PresetName;
  readonly title: string;
  readonly learn: string;
  readonly seeds: number;
  /** By how much shorter the promised times are than those of the usual model. */
  readonly faster: number;
  readonly moreRounds: number;
}
const FULL: Scale = {
  ...{ preset: "medium", title: "made Llama of 88 M parameters" },
  ...{ learn: "60s", seeds: 3, faster: 1, moreRounds: capacityQuestion.moreRounds },
};
const QUICK: Scale = {
  ...{ preset: "small", title: "made Llama of 21 M parameters" },
  ...{ learn: "10s", seeds: 1, faster: 4, moreRounds: 1 },
};

/** Profiles a made model on one thread, and then takes eight to eleven minutes per seed (quick: five). */
export async function measureCapacities(
  options: ReproduceOptions,
): Promise<readonly ReproduceRow[]> {
  const { preset, title, learn: seconds, seeds, faster, moreRounds } = options.quick ? QUICK : FULL;
  const folder = mkdtempSync(join(tmpdir(), "millrace-capacities-"));
  try {
    const model = join(folder, "model.gguf");
    makeModel({ preset, type: "q8_0", out: model, seed: options.seed });
    const engine = { model, threads: 1, context: 1024, kvMemory: "512MiB" };
    const context = {
      session: Session.silent(),
      options: calibrateOptionsOf({ ...engine, quick: true, learn: seconds, out: folder }),
      signal: options.signal ?? new AbortController().signal,
    };
    options.onProgress?.(0, seeds + 1, "profiling the engine of this machine");
    const learnt = await learn(context);
    const slo = capacityQuestion.slo.map((term) => ({
      ...term,
      limitSeconds: term.limitSeconds / faster,
    }));
    const knobs = comparedSchedulers.map(usualKnobs);
    const runs: SchedulerCapacity[] = [];
    for (let i = 0; i < seeds; i++) {
      options.onProgress?.(i + 1, seeds + 1, "capacity of three schedulers on the engine");
      const question = { ...capacityQuestion, moreRounds, knobs, slo, seed: options.seed + i };
      runs.push(...(await compareCapacities(context, learnt, question, join(folder, String(i)))));
    }
    return capacityRows(runs, options.seed, `${title}, q8_0, one thread; ${promised(slo)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Rows of each scheduler and of its ratio to Sarathi-Serve; runs of several seeds are medians with lowest and highest. */
export function capacityRows(
  runs: readonly SchedulerCapacity[],
  seed: number,
  note: string,
): readonly ReproduceRow[] {
  const of = (scheduler: SchedulerName) => runs.filter((run) => run.scheduler === scheduler);
  const measured = (scheduler: SchedulerName) => of(scheduler).map((run) => run.measuredQps.qps);
  const predicted = (scheduler: SchedulerName) => of(scheduler).map((run) => run.predictedQps);
  const bounds = runs.filter(({ measuredQps }) => measuredQps.bound !== null);
  const bounded = (names: readonly SchedulerName[]): string =>
    bounds.some(({ scheduler }) => names.includes(scheduler)) ? `${note}; a rate is a bound` : note;
  const row = (
    claim: string,
    values: readonly number[],
    kind: ReproduceRow["kind"],
    names: readonly SchedulerName[],
  ): ReproduceRow => ({
    ...{ claim, theirs: null, ...spread(values), kind, seed },
    unit: names.length > 1 ? "x" : "qps",
    n: Math.min(...names.flatMap(of).map(({ requests }) => requests)),
    note: bounded(names),
  });
  const gain = (side: typeof measured, other: SchedulerName): readonly number[] => {
    const ours = side("sarathi-serve");
    return side(other).map((qps, i) => (ours[i] as number) / qps);
  };
  const pair = (
    what: string,
    values: (side: typeof measured) => readonly number[],
    names: readonly SchedulerName[],
  ): readonly ReproduceRow[] => [
    { ...row(`${what}, predicted`, values(predicted), "simulated", names), beside: what },
    { ...row(`${what}, measured`, values(measured), "measured", names), beside: what },
  ];
  return [
    ...comparedSchedulers.flatMap((name) =>
      pair(`capacity on this machine: ${name}`, (side) => side(name), [name]),
    ),
    ...(["vllm-v0", "orca"] as const).flatMap((other) =>
      pair(`capacity on this machine: sarathi-serve / ${other}`, (side) => gain(side, other), [
        "sarathi-serve",
        other,
      ]),
    ),
  ];
}
