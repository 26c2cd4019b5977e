/** From the flags of `millrace calibrate` to what it does. */
import { parseSlo } from "@millrace/bench";
import { didYouMean, MillraceError, parseBytes, parseSeconds } from "@millrace/core";
import { type LengthSpec, type SchedulerName, schedulers, shapeByName } from "@millrace/serving";
import type { TwinSlo } from "@millrace/sim/twin";
import { loadOf } from "../commands/bench/load-flags.ts";

type Flags = Readonly<Record<string, unknown>>;

export interface CalibrateOptions {
  /** Flags of the engine, as readServeConfig takes them. */
  readonly engine: Flags;
  readonly quick: boolean;
  /** A profile that was measured before; null measures one. */
  readonly profile: string | null;
  /** Seconds of the load that the serving loop is learnt from. */
  readonly learnSeconds: number;
  readonly lengths: LengthSpec;
  readonly requests: number;
  readonly rate: number | null;
  /** Share of the predicted capacity, where no rate is given. */
  readonly load: number;
  readonly repeats: number;
  readonly slo: readonly TwinSlo[] | null;
  readonly schedulers: readonly SchedulerName[];
  readonly chunks: readonly number[];
  readonly caps: readonly number[];
  /** The KV page, bytes; null = the engine's own choice, and then `pages` are tried beside it. */
  readonly page: number | null;
  readonly pages: readonly number[];
  readonly seed: number;
  readonly out: string;
}

/** Small pages waste little of a short sequence, large ones cost fewer orders. */
const PAGES: readonly number[] = [16 * 1024, 2 * 1024 * 1024];
const SCHEDULERS: readonly SchedulerName[] = ["sarathi-serve", "vllm-v0", "orca"];

/** Reads the flags. Throws USAGE. */
export function calibrateOptionsOf(flags: Flags): CalibrateOptions {
  const quick = flags.quick === true;
  const lengths = loadOf({
    promptTokens: flags.promptTokens ?? (flags.shape === undefined ? "16..256" : undefined),
    outputTokens: flags.outputTokens ?? (flags.shape === undefined ? "4..48" : undefined),
    shape: flags.shape,
    requests: 1,
  }).lengths;
  // Now, and not when the profile is measured.
  if (lengths?.type === "shape") shapeByName(lengths.name, {});
  if (lengths === undefined) throw new MillraceError("USAGE", "the workload names no lengths");
  const load = flags.load === undefined ? 0.7 : Number(flags.load);
  if (flags.rate !== undefined && flags.load !== undefined)
    throw new MillraceError("USAGE", "--rate and --load exclude each other", {
      hint: "--load is a share of the capacity that the plan finds; --rate is requests per second",
    });
  const learnSeconds = parseSeconds(String(flags.learn ?? (quick ? "10s" : "40s")), "--learn");
  if (learnSeconds === 0)
    throw new MillraceError("USAGE", "--learn: nothing is learnt from a load of no time", {
      hint: "some seconds, e.g. --learn 10s; a --profile of a calibration needs none",
    });
  return {
    engine: flags,
    quick,
    profile: (flags.profile as string | undefined) ?? null,
    learnSeconds,
    lengths,
    requests: (flags.requests as number | undefined) ?? (quick ? 300 : 1000),
    rate: (flags.rate as number | undefined) ?? null,
    load,
    repeats: (flags.repeats as number | undefined) ?? (quick ? 1 : 3),
    slo: flags.slo === undefined ? null : twinSlo(String(flags.slo)),
    schedulers:
      flags.schedulers === undefined ? SCHEDULERS : schedulerNames(String(flags.schedulers)),
    chunks: flags.chunkSize === undefined ? [64, 128, 256, 512] : [flags.chunkSize as number],
    caps: flags.batchSizeCap === undefined ? [8, 16, 32] : [flags.batchSizeCap as number],
    page: flags.pageSize === undefined ? null : parseBytes(String(flags.pageSize), "--page-size"),
    pages: flags.pageSize === undefined ? PAGES : [],
    seed: (flags.seed as number | undefined) ?? 42,
    out: (flags.out as string | undefined) ?? "millrace-calibration",
  };
}

/** Promises that the twin can judge: quantiles 50, 90 and 99 of three latencies. */
function twinSlo(text: string): readonly TwinSlo[] {
  return parseSlo(text).map(({ text: term, metric, quantile, limit }) => {
    if (metric !== "ttft" && metric !== "tbt" && metric !== "e2e")
      throw new MillraceError("USAGE", `--slo: a plan is not made by ${metric}`, {
        hint: "promise ttft, tbt or e2e, e.g. ttft.p90<=500ms,tbt.p99<=50ms",
      });
    if (quantile !== 0.5 && quantile !== 0.9 && quantile !== 0.99)
      throw new MillraceError("USAGE", `--slo: ${term} is not of p50, p90 or p99`);
    return { metric, quantile, limitSeconds: limit / 1000 };
  });
}

function schedulerNames(text: string): readonly SchedulerName[] {
  const known = Object.keys(schedulers);
  return text.split(",").map((word) => {
    const name = word.trim();
    if (known.includes(name)) return name as SchedulerName;
    const near = didYouMean(name, known);
    throw new MillraceError("USAGE", `there is no scheduler ${JSON.stringify(name)}`, {
      hint: near === null ? `known are ${known.join(", ")}` : `did you mean ${near}?`,
    });
  });
}
