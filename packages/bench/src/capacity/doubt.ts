/**
 * How easily the sample of one run could have turned a verdict. Every SLO term is a ratio of two sums over requests (gaps
 * over the limit / gaps, late tokens / tokens, …) held against a share; its error comes from blocks of requests in order
 * of arrival, so that a queue, which makes neighbours alike, is not taken for so many independent requests.
 */
import type { RequestRecord, Targets } from "../contracts.ts";
import { requestFluidity } from "../metrics/fluidity.ts";
import { tpotUs } from "../metrics/latency.ts";
import { keepsLimits, type SloTerm } from "../metrics/slo.ts";
import { tokenGaps } from "../metrics/token-streams.ts";

/** What a request adds to numerator and denominator of a term. */
interface Part {
  readonly part: number;
  readonly of: number;
}

const BLOCKS = 20;

/** A ratio of sums over requests, and its standard error over blocks of them. */
export interface Ratio {
  readonly value: number;
  readonly error: number;
  /** Sum of the denominators. */
  readonly of: number;
}

/** The ratio over parts in order of arrival. NaN without any. */
export function blockRatio(parts: readonly Part[]): Ratio {
  const blocks = Math.min(BLOCKS, parts.length);
  const sums = Array.from({ length: blocks }, () => ({ part: 0, of: 0 }));
  parts.forEach(({ part, of }, i) => {
    const sum = sums[Math.floor((i * blocks) / parts.length)] as { part: number; of: number };
    sum.part += part;
    sum.of += of;
  });
  const part = sums.reduce((a, b) => a + b.part, 0);
  const of = sums.reduce((a, b) => a + b.of, 0);
  const value = part / of;
  if (blocks < 2) return { value, error: Number.POSITIVE_INFINITY, of };
  // Linearized: the ratio's error is that of the sum of part - value * of.
  const spread = sums.reduce((a, b) => a + (b.part - value * b.of) ** 2, 0);
  return { value, error: Math.sqrt((spread * blocks) / (blocks - 1)) / of, of };
}

/**
 * Probability, 0 … 0.5, that the sample turned the verdict on a term; 0 for terms on rates of the whole run. `records`
 * in order of arrival, without warm-up.
 */
export function termDoubt(
  term: SloTerm,
  records: readonly RequestRecord[],
  targets: Targets,
  slo: readonly SloTerm[],
): number {
  const question = questionOf(term, targets, slo);
  if (question === null) return 0;
  const { value, error, of } = blockRatio(records.flatMap((record) => question.part(record)));
  if (!(of > 0)) return 0;
  const { share, samples, limitUs } = question;
  let { limit } = question;
  if (value === 0 && samples !== undefined && limitUs !== undefined) {
    // A tail that falls at least as the square: if so many were beyond the limit, more would be beyond the largest seen.
    const largest = records.reduce(
      (most, record) => samples(record).reduce((a, b) => Math.max(a, b), most),
      0,
    );
    limit = Math.min(1, limit * (limitUs / Math.max(largest, 1)) ** 2);
  }
  // No late request among twenty does not show that one in a hundred is late: the limit has an error of its own.
  const least = share ? Math.sqrt((limit * (1 - limit)) / of) : 0;
  const sigma = Math.max(error, least);
  if (sigma === 0) return value === limit ? 0.5 : 0;
  return Math.min(0.5, normalTail(Math.abs(value - limit) / sigma));
}

interface Question {
  readonly part: (record: RequestRecord) => readonly Part[];
  readonly limit: number;
  /** Numerator counts part of the denominator. */
  readonly share: boolean;
  /** Of quantiles of latencies: the latencies of a request and their limit, µs. */
  readonly samples?: (record: RequestRecord) => readonly number[];
  readonly limitUs?: number;
}

function questionOf(term: SloTerm, targets: Targets, slo: readonly SloTerm[]): Question | null {
  const { metric, limit } = term;
  const one = (bad: boolean): readonly Part[] => [{ part: bad ? 1 : 0, of: 1 }];
  const scored = (record: RequestRecord) =>
    requestFluidity(record, { targets, arithmetic: "exact" });
  switch (metric) {
    case "fluidity":
      return {
        part: (record) => [scored(record)].map((s) => ({ part: s.missed, of: s.met + s.missed })),
        limit: 1 - limit,
        share: true,
      };
    case "fluid-requests":
      return { part: (record) => one(scored(record).index < 0.9), limit: 1 - limit, share: true };
    case "on-time":
      return {
        part: (record) => [scored(record)].map((s) => ({ part: s.tokens - s.met, of: s.tokens })),
        limit: 1 - limit,
        share: true,
      };
    case "errors":
      return { part: (record) => one(record.status !== "ok"), limit, share: true };
    case "goodput":
      return { part: (record) => one(!keepsLimits(record, slo)), limit: 1 - limit, share: true };
    case "rate":
    case "tokens":
    case "fluid-rate":
      return null;
    default:
      return latencyQuestion(term);
  }
}

/** A quantile within its limit is a share of samples beyond it of at most 1 - quantile. */
function latencyQuestion({ metric, quantile, limit }: SloTerm): Question {
  const limitUs = limit * 1e3;
  const samples = (record: RequestRecord): readonly number[] => samplesUs(metric, record);
  const sum = (values: readonly number[], of: (value: number) => number): number =>
    values.reduce((total, value) => total + of(value), 0);
  const mean = quantile === "mean";
  return {
    part: (record) => {
      const values = samples(record);
      const part = sum(values, mean ? (v) => v : (v) => (v > limitUs ? 1 : 0));
      return values.length === 0 ? [] : [{ part, of: values.length }];
    },
    limit: mean ? limitUs : 1 - (quantile ?? 1),
    share: !mean,
    ...(mean ? {} : { samples, limitUs }),
  };
}

function samplesUs(metric: SloTerm["metric"], record: RequestRecord): readonly number[] {
  const { status, scheduledUs, firstTokenUs, firstContentUs, lastTokenUs, tokens } = record;
  if (status !== "ok" || firstTokenUs < 0) return [];
  switch (metric) {
    case "ttft":
      return [firstTokenUs - scheduledUs];
    case "ttfc":
      return firstContentUs < 0 ? [] : [firstContentUs - scheduledUs];
    case "e2e":
      return [lastTokenUs - scheduledUs];
    case "normalized":
      return [(lastTokenUs - scheduledUs) / Math.max(1, tokens)];
    case "tpot":
      return [tpotUs(record)].filter((us) => !Number.isNaN(us));
    default: {
      const gaps = tokenGaps(record, scheduledUs).flatMap((g) => [...g.subarray(1)]);
      return metric === "chunk-gap" ? gaps.filter((us) => us > 0) : gaps;
    }
  }
}

/** Probability that a normal deviate is above z >= 0 (Abramowitz and Stegun 26.2.17, error below 1e-7). */
export function normalTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const series =
    t *
    (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * series;
}
