/** From the records of a probe to its verdict: SLO terms, errors, whether a queue grew, whether the run was valid. */
import { formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import type { BenchReport, RequestRecord, SloOutcome, Targets } from "../contracts.ts";
import { requestFluidity } from "../metrics/fluidity.ts";
import type { SloTerm } from "../metrics/slo.ts";
import { blockRatio, termDoubt } from "./doubt.ts";

/** What a rate has to keep. */
export interface CapacityGoal {
  readonly slo: readonly SloTerm[];
  readonly targets: Targets;
  /** Most requests that may fail, 0 … 1, where no SLO term speaks of errors. */
  readonly maxErrors: number;
}

/** A judged run. */
export interface ProbeJudgement {
  readonly outcome: "met" | "missed" | "invalid";
  /** Probability, 0 … 0.5, that the sample turned the verdict; 0 when invalid. */
  readonly doubt: number;
  /** Why it was missed or invalid, one sentence each; what it could not tell when met. */
  readonly reasons: readonly string[];
  /** Pooled fluidity-index with its central 90 % interval. */
  readonly fluidity: { readonly index: number; readonly low: number; readonly high: number };
}

/** Growth of the queue over the second half of the arrivals, as a share of them, beyond which a rate does not last. */
const GROWTH = 0.1;
/** Arrivals must last this many times the median answer, or a growing queue looks like a run that fills up. */
const LONG_ENOUGH = 4;

/**
 * Judges a run whose arrivals lasted `arrivalSeconds`. `cutShort`: it was ended early because it could no longer be met.
 * O(tokens x terms).
 */
export function judgeProbe(
  report: BenchReport,
  records: readonly RequestRecord[],
  { slo, targets, maxErrors }: CapacityGoal,
  arrivalSeconds: number,
  cutShort = false,
): ProbeJudgement {
  const own = records.filter(({ warmup }) => !warmup).sort((a, b) => a.scheduledUs - b.scheduledUs);
  const fluidity = fluidityBand(own, targets);
  if (report.verdict === "INVALID" && !cutShort)
    return { outcome: "invalid", doubt: 0, reasons: report.reasons, fluidity };
  if (own.length === 0)
    return { outcome: "invalid", doubt: 0, reasons: ["The run sent nothing."], fluidity };
  const terms = slo.some(({ metric }) => metric === "errors")
    ? slo
    : [...slo, errorTerm(maxErrors)];
  const outcomes = [
    ...report.slo,
    ...(terms.length > slo.length ? [errorOutcome(report, maxErrors)] : []),
  ];
  const missed = terms.filter((_, i) => outcomes[i]?.met === false);
  const queue = queueGrowth(own, arrivalSeconds);
  const doubts = (of: readonly SloTerm[]): number[] =>
    of.map((term) => termDoubt(term, own, targets, slo));
  const reasons = missed.map((term) => {
    const text = missText(outcomes[terms.indexOf(term)] as SloOutcome);
    const [common] = report.errors;
    return term.metric === "errors" && common !== undefined
      ? `${text}, mostly ${common.class}`
      : text;
  });
  if (queue.grows) reasons.push(queue.text);
  if (cutShort) reasons.push("Ended early: it could no longer be met.");
  if (reasons.length > 0) {
    // One term that is surely missed decides, however near the others are.
    const doubt = queue.grows || cutShort ? 0 : Math.min(...doubts(missed));
    return { outcome: "missed", doubt, reasons, fluidity };
  }
  // No error at all says nothing against the limit that nobody asked for; some do.
  const asked = own.every(({ status }) => status === "ok") ? slo : terms;
  const held = doubts(asked).reduce((all, doubt) => all * (1 - doubt), 1);
  const notes = queue.known ? [] : [queue.text];
  return { outcome: "met", doubt: Math.min(0.5, 1 - held), reasons: notes, fluidity };
}

function errorTerm(limit: number): SloTerm {
  const text = `errors<=${100 * limit}%`;
  return { text, metric: "errors", quantile: null, direction: "<=", limit, unit: "share" };
}

function errorOutcome({ requests }: BenchReport, limit: number): SloOutcome {
  const { ok, failed, refused, abandoned } = requests;
  const value = 1 - ok / Math.max(1, ok + failed + refused + abandoned);
  const { text: term, metric, direction, unit } = errorTerm(limit);
  return { term, metric, direction, limit, value, unit, met: value <= limit };
}

function missText({ term, value, unit }: SloOutcome): string {
  const shown =
    unit === "ms"
      ? formatSeconds(value / 1e3)
      : unit === "share"
        ? formatPercent(value)
        : `${formatNumber(value)}/s`;
  return Number.isNaN(value) ? `${term}: nothing to measure` : `${term}: ${shown}`;
}

/** The index pooled over the requests, ± 1.645 standard errors. */
function fluidityBand(
  records: readonly RequestRecord[],
  targets: Targets,
): ProbeJudgement["fluidity"] {
  const { value, error } = blockRatio(
    records.map((record) => {
      const { met, missed } = requestFluidity(record, { targets, arithmetic: "exact" });
      return { part: met, of: met + missed };
    }),
  );
  const reach = Number.isFinite(error) ? 1.645 * error : 1;
  return { index: value, low: Math.max(0, value - reach), high: Math.min(1, value + reach) };
}

interface QueueGrowth {
  readonly grows: boolean;
  /** Whether the run was long enough to tell. */
  readonly known: boolean;
  readonly text: string;
}

/**
 * Requests in the system at the end of the arrivals against half-way. A short run meets an SLO at rates that no server can
 * sustain, since its queue has no time to grow to the limit (docs/decisions/0030).
 */
export function queueGrowth(records: readonly RequestRecord[], seconds: number): QueueGrowth {
  const within = (us: number): number =>
    records.filter((r) => r.scheduledUs <= us && (r.endedUs < 0 || r.endedUs > us)).length;
  const half = within(seconds * 5e5);
  const end = within(seconds * 1e6);
  const arrived = records.filter((r) => r.scheduledUs > seconds * 5e5).length;
  const times = records
    .filter(({ status }) => status === "ok")
    .map((r) => (r.endedUs - r.scheduledUs) / 1e6)
    .sort((a, b) => a - b);
  const typical = times[times.length >> 1] ?? Number.POSITIVE_INFINITY;
  if (LONG_ENOUGH * typical > seconds) {
    const text =
      "Answers take a good part of the probe, so that a growing queue could not be told; longer probes could (--duration).";
    return { grows: false, known: false, text };
  }
  const growth = end - half;
  // Counts in a stable queue differ by chance, by about the root of twice their mean.
  const chance = 4 * Math.sqrt(2 * Math.max(1, half));
  const grows = growth > GROWTH * arrived && growth > chance;
  const text = `The queue grew from ${half} to ${end} requests over the second half: the rate does not last.`;
  return { grows, known: true, text };
}
