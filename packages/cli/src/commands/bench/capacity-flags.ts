/** Flags of `bench capacity` as the options of a search. */
import {
  type CapacityGoal,
  type CapacityPrediction,
  type CapacitySearchOptions,
  type ProbeLoad,
  parsePrediction,
  parseSlo,
} from "@millrace/bench";
import { MillraceError, parseSeconds } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import { loadOf } from "./load-flags.ts";
import { summaryOptionsOf } from "./score-flags.ts";

/** The paper's: the 99th percentile over requests of the deadline-miss rate is at most a tenth. */
const SLO = "fluid-requests>=99%";
const MAX_ERRORS = 0.01;

export interface CapacityFlags {
  readonly start?: number;
  readonly predict?: string;
  readonly replicas?: number;
  readonly minRate?: number;
  readonly maxRate?: number;
  readonly tolerance?: string;
  readonly confidence?: string;
  readonly maxProbes?: number;
  readonly probeRequests?: number;
  readonly probeTime?: string;
  readonly arrivals?: "poisson" | "gamma" | "constant";
  readonly cv?: number;
  readonly seed?: number;
  readonly workers?: number;
  readonly tokenizer?: string;
  readonly out?: string;
}

export interface CapacityFlagOptions {
  readonly goal: CapacityGoal;
  readonly load: ProbeLoad;
  readonly search: Omit<CapacitySearchOptions, "startQps" | "width"> & {
    readonly startQps?: number;
  };
  readonly prediction: CapacityPrediction | null;
}

/** Reads the flags. Throws USAGE, CONFIG_INVALID or FILE_UNREADABLE. */
export function capacityOptionsOf(given: Readonly<Record<string, unknown>>): CapacityFlagOptions {
  const flags = given as CapacityFlags;
  const { targets, slo = parseSlo(SLO) } = summaryOptionsOf(given);
  const { start, predict, replicas, minRate, maxRate, maxProbes, tolerance, confidence } = flags;
  if (replicas !== undefined && predict === undefined)
    throw new MillraceError("USAGE", "--replicas needs --predict", {
      hint: "it multiplies the capacity per replica of a plan",
    });
  const prediction =
    predict === undefined ? null : parsePrediction(readTextFile(predict), predict, replicas ?? 1);
  return {
    goal: { slo, targets, maxErrors: MAX_ERRORS },
    load: probeLoadOf(given),
    search: {
      ...(start !== undefined && { startQps: start }),
      ...(minRate !== undefined && { minQps: minRate }),
      ...(maxRate !== undefined && { maxQps: maxRate }),
      ...(maxProbes !== undefined && { maxProbes }),
      ...(tolerance !== undefined && { tolerance: shareOf(tolerance, "--tolerance") }),
      ...(confidence !== undefined && { confidence: shareOf(confidence, "--confidence") }),
    },
    prediction,
  };
}

function probeLoadOf(given: Readonly<Record<string, unknown>>): ProbeLoad {
  const { probeRequests, probeTime, arrivals, cv } = given as CapacityFlags;
  const { lengths, maxTokens, prompts, sessions, warmup, drainSeconds } = loadOf(given);
  return {
    what: {
      ...(lengths !== undefined && { lengths }),
      ...(maxTokens !== undefined && { maxTokens }),
      ...(prompts !== undefined && { prompts }),
      ...(sessions !== undefined && { sessions }),
    },
    ...(arrivals !== undefined && { process: arrivals }),
    // Bursty unless said otherwise, as in `bench`.
    ...(arrivals === "gamma" && { cv: cv ?? 2 }),
    ...(probeRequests !== undefined && { requests: probeRequests }),
    ...(probeTime !== undefined && timesOf(probeTime)),
    ...(drainSeconds !== undefined && { drainSeconds }),
    ...(warmup !== undefined && { warmup: warmup.requests }),
  };
}

/** `20s..120s`, or `60s` for always the same. */
function timesOf(text: string): Pick<ProbeLoad, "minSeconds" | "maxSeconds"> {
  const [low = "", high = low] = text.split("..");
  const minSeconds = parseSeconds(low, "--probe-time");
  const maxSeconds = parseSeconds(high, "--probe-time");
  if (minSeconds > 0 && maxSeconds >= minSeconds) return { minSeconds, maxSeconds };
  throw new MillraceError("USAGE", `--probe-time: ${JSON.stringify(text)} is no range of times`, {
    hint: "write e.g. 20s..120s, or 60s",
  });
}

/** `2.5%` or `0.025`. */
function shareOf(text: string, flag: string): number {
  const [, number = "", percent] = /^\s*([\d.]+)\s*(%)?\s*$/.exec(text) ?? [];
  const share = Number(number) / (percent === undefined ? 1 : 100);
  if (number !== "" && share > 0 && share < 1) return share;
  throw new MillraceError("USAGE", `${flag}: ${JSON.stringify(text)} is no share`, {
    hint: "write e.g. 5% or 0.05",
  });
}
