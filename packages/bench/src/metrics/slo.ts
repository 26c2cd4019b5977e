/**
 * Promises as people write them: `ttft.p99<=500ms`, `tbt.p99<=50ms`, `fluidity>=0.9`, `errors<=1%`, `rate>=10`. Several
 * are joined by commas.
 */
import { MillraceError, quantileSorted } from "@millrace/core";
import type { FluidityReport, RequestRecord, SloOutcome } from "../contracts.ts";
import type { LatencySamples } from "./latency.ts";
import { tpotUs } from "./latency.ts";
import { tokenGaps } from "./token-streams.ts";

const latencies = {
  ttft: "ttft",
  ttfc: "ttfc",
  tbt: "tbt",
  "chunk-gap": "chunkGap",
  tpot: "tpot",
  e2e: "e2e",
  normalized: "normalized",
} as const satisfies Readonly<Record<string, keyof LatencySamples>>;
type LatencyMetric = keyof typeof latencies;

const shares = ["fluidity", "fluid-requests", "on-time", "errors", "goodput"] as const;
const rates = ["rate", "tokens", "fluid-rate"] as const;

/** A promise. */
export interface SloTerm {
  readonly text: string;
  readonly metric: LatencyMetric | (typeof shares)[number] | (typeof rates)[number];
  /** Of a latency: 0 < q <= 1, or mean. */
  readonly quantile: number | "mean" | null;
  readonly direction: "<=" | ">=";
  /** ms, a share of 0 … 1, or per second. */
  readonly limit: number;
  readonly unit: SloOutcome["unit"];
}

const form =
  /^([a-z0-9-]+)(?:\.(p\d{1,2}(?:\.\d+)?|max|mean))?\s*(<=|>=|<|>)\s*([\d.]+)\s*(us|ms|s|%)?$/;
const hint =
  "write e.g. ttft.p99<=500ms, tbt.p99<=50ms, e2e.mean<=8s, fluidity>=0.9, errors<=1%, rate>=10";

/** Reads promises, separated by commas. Throws USAGE naming the one that cannot be read. */
export function parseSlo(text: string): readonly SloTerm[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map(parseTerm);
}

function parseTerm(text: string): SloTerm {
  const [, name = "", statistic, sign = "", number = "", unit] =
    form.exec(text) ?? bad(text, "is not a promise");
  const value = Number(number);
  if (!Number.isFinite(value)) bad(text, `has a limit that is not a number: ${number}`);
  const direction = sign.startsWith("<") ? "<=" : ">=";
  if (name in latencies) {
    if (direction === ">=") bad(text, "promises a latency of at least so much; use <=");
    if (unit === "%" || unit === undefined) bad(text, "needs a unit: us, ms or s");
    const factor = unit === "s" ? 1000 : unit === "us" ? 1e-3 : 1;
    return {
      text,
      metric: name as LatencyMetric,
      quantile: quantileOf(statistic, text),
      direction,
      limit: value * factor,
      unit: "ms",
    };
  }
  if (statistic !== undefined) bad(text, `has a quantile, but ${name} is one number`);
  if ((shares as readonly string[]).includes(name)) {
    if (unit !== "%" && unit !== undefined) bad(text, `is a share, not a time in ${unit}`);
    const limit = unit === "%" ? value / 100 : value;
    if (limit > 1) bad(text, `asks for a share of ${limit}; shares are 0 to 1, or 0% to 100%`);
    if ((name === "errors") !== (direction === "<=")) bad(text, `has the wrong sign for ${name}`);
    return {
      text,
      metric: name as SloTerm["metric"],
      quantile: null,
      direction,
      limit,
      unit: "share",
    };
  }
  if ((rates as readonly string[]).includes(name)) {
    if (unit !== undefined) bad(text, `is a number per second and has no unit ${unit}`);
    if (direction === "<=") bad(text, `promises a rate of at most so much; use >=`);
    return {
      text,
      metric: name as SloTerm["metric"],
      quantile: null,
      direction,
      limit: value,
      unit: "per-second",
    };
  }
  return bad(
    text,
    `names an unknown metric: ${name}; known are ${[...Object.keys(latencies), ...shares, ...rates].join(", ")}`,
  );
}

function quantileOf(statistic: string | undefined, text: string): number | "mean" {
  if (statistic === undefined) return bad(text, "needs a statistic, e.g. .p99, .max or .mean");
  if (statistic === "mean") return "mean";
  if (statistic === "max") return 1;
  const percent = Number(statistic.slice(1));
  if (percent <= 0) bad(text, `has the quantile ${statistic}; p1 to p99.9 make sense`);
  return percent / 100;
}

function bad(text: string, what: string): never {
  throw new MillraceError("USAGE", `SLO: ${JSON.stringify(text)} ${what}`, { hint });
}

/** What the terms are held against. */
export interface SloFigures {
  readonly samples: LatencySamples;
  readonly fluidity: FluidityReport;
  /** Requests that failed, were refused or abandoned / all, 0 … 1. */
  readonly errors: number;
  readonly goodput: number;
  readonly requestsPerSecond: number;
  readonly outputTokensPerSecond: number;
}

/** Holds the promises against the figures. A latency without a sample is not met. */
export function evaluateSlo(terms: readonly SloTerm[], figures: SloFigures): readonly SloOutcome[] {
  return terms.map((term) => {
    const value = figureOf(term, figures);
    const met = term.direction === "<=" ? value <= term.limit : value >= term.limit;
    const { metric, direction, limit, unit } = term;
    return { term: term.text, metric, direction, limit, value, unit, met };
  });
}

function figureOf({ metric, quantile }: SloTerm, figures: SloFigures): number {
  const { samples, fluidity } = figures;
  switch (metric) {
    case "fluidity":
      return fluidity.index;
    case "fluid-requests":
      return fluidity.shareAbove90;
    case "on-time":
      return fluidity.onTimeShare;
    case "fluid-rate":
      return fluidity.fluidTokenRate;
    case "errors":
      return figures.errors;
    case "goodput":
      return figures.goodput;
    case "rate":
      return figures.requestsPerSecond;
    case "tokens":
      return figures.outputTokensPerSecond;
    default: {
      const sorted = samples[latencies[metric]];
      if (quantile !== "mean") return quantileSorted(sorted, quantile ?? 1) / 1e3;
      return sorted.reduce((a, b) => a + b, 0) / sorted.length / 1e3;
    }
  }
}

/**
 * Whether one request kept every promise that is about single requests: its own time to first token, end to end, time per
 * token, and the share of its gaps that a TBT promise names. A request that failed kept none.
 */
export function keepsLimits(record: RequestRecord, terms: readonly SloTerm[]): boolean {
  if (record.status !== "ok") return false;
  return terms.every(({ metric, quantile, limit }) => {
    const us = limit * 1e3;
    const q = quantile === "mean" || quantile === null ? 1 : quantile;
    switch (metric) {
      case "ttft":
        return record.firstTokenUs - record.scheduledUs <= us;
      case "ttfc":
        return record.firstContentUs >= 0 && record.firstContentUs - record.scheduledUs <= us;
      case "e2e":
        return record.lastTokenUs - record.scheduledUs <= us;
      case "normalized":
        return (record.lastTokenUs - record.scheduledUs) / Math.max(1, record.tokens) <= us;
      case "tpot":
        return !(tpotUs(record) > us);
      case "tbt":
        return tokenGaps(record, record.scheduledUs).every((gaps) => {
          const decode = gaps.slice(1).sort();
          return decode.length === 0 || quantileSorted(decode, q) <= us;
        });
      default:
        return true;
    }
  });
}
