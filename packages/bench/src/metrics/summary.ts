/** Sums a run up: `millrace.bench/1`. Pure: the same records give the same report, whenever they are scored. */

import { attribute } from "../attribution/attribute.ts";
import {
  type BenchReport,
  type ErrorClass,
  type ErrorReport,
  type GroupReport,
  REPORT_SCHEMA,
  type RequestRecord,
  type RequestWarning,
  type RunData,
  type Targets,
  type TokenSource,
} from "../contracts.ts";
import { serverState } from "../scrape/summary.ts";
import { errorClasses } from "../transport/error-class.ts";
import { acceptanceOf, type FluidityOptions, fluidityReport } from "./fluidity.ts";
import { latencyMs, latencyReport, latencySamples } from "./latency.ts";
import { evaluateSlo, keepsLimits, type SloTerm } from "./slo.ts";
import { promptTokensOf } from "./targets.ts";
import { tokenGaps } from "./token-streams.ts";

export interface SummaryOptions {
  readonly targets: Targets;
  readonly slo?: readonly SloTerm[];
  /** etalon: the fluidity-index in its float arithmetic. */
  readonly compat?: "etalon";
}

/** Sums up. O(tokens log tokens). Throws CONFIG_INVALID when the TTFT target needs what the records lack. */
export function summarizeRun(run: RunData, options: SummaryOptions): BenchReport {
  const { header, end } = run;
  const records = run.records.filter(({ warmup }) => !warmup);
  const { targets, slo = [], compat } = options;
  const fluidityOptions: FluidityOptions = { targets, arithmetic: compat ?? "exact" };
  const samples = latencySamples(records);
  const fluidity = fluidityReport(records, fluidityOptions);
  const ok = records.filter(({ status }) => status === "ok");
  const seconds = end?.seconds ?? lastSecond(records);
  const kept = records.filter((record) => keepsLimits(record, slo)).length;
  const share = (n: number): number => (records.length > 0 ? n / records.length : 0);
  const outputTokens = sum(records, ({ tokens }) => tokens);
  const figures = {
    samples,
    fluidity,
    errors: share(records.length - ok.length),
    goodput: share(kept),
    requestsPerSecond: ok.length / seconds,
    outputTokensPerSecond: outputTokens / seconds,
  };
  const count = (status: RequestRecord["status"]): number =>
    records.filter((record) => record.status === status).length;
  const compared = records.filter(({ usageDisagreement }) => usageDisagreement !== null);
  const { label, startedAt, endpoint, seed, load, tokenizer } = header;
  return {
    schema: REPORT_SCHEMA,
    ...{ label, startedAt, endpoint, seed, load, tokenizer },
    verdict: end?.self.verdict === "VALID" ? "VALID" : "INVALID",
    reasons: end?.self.reasons ?? ["The run was cut off before it could judge itself."],
    requests: {
      scheduled: end?.scheduled ?? header.scheduled ?? records.length,
      sent: records.filter(({ startedUs }) => startedUs >= 0).length,
      ...{ ok: ok.length, failed: count("failed"), refused: count("refused") },
      abandoned: count("abandoned"),
      warmup: run.records.length - records.length,
    },
    errors: errorReports(records),
    warnings: tally<RequestWarning>(records.flatMap(({ warnings }) => warnings)),
    latencyMs: latencyReport(samples),
    fluidity,
    throughput: {
      seconds,
      offeredQps: end?.offeredQps ?? Number.NaN,
      sentQps: end?.sentQps ?? Number.NaN,
      requestsPerSecond: figures.requestsPerSecond,
      outputTokensPerSecond: figures.outputTokensPerSecond,
      promptTokens: sum(ok, (record) => promptTokensOf(record) ?? 0),
      outputTokens,
    },
    goodput: { requestsPerSecond: kept / seconds, share: figures.goodput },
    slo: evaluateSlo(slo, figures),
    tokens: {
      sources: tally<TokenSource>(ok.map(({ tokenSource }) => tokenSource)),
      compared: compared.length,
      differ: compared.filter(({ usageDisagreement }) => usageDisagreement !== 0).length,
      largestDifference: compared.reduce(
        (most, { usageDisagreement }) => Math.max(most, Math.abs(usageDisagreement ?? 0)),
        0,
      ),
    },
    pacedShare: ok.length > 0 ? ok.filter(isPaced).length / ok.length : 0,
    acceptance: acceptanceOf(records),
    attribution: attribute(run, targets),
    server: end?.server === undefined ? null : serverState(end.server),
    stages: groups(
      records,
      ({ stage }) => stage,
      (stage) => `stage ${stage + 1}`,
      fluidityOptions,
    ),
    classes: groups(
      records,
      ({ classIndex }) => classIndex,
      (index) => header.classes[index]?.name ?? String(index),
      fluidityOptions,
    ),
    self: end?.self ?? null,
    end: end?.reason ?? "killed",
  };
}

function lastSecond(records: readonly RequestRecord[]): number {
  return records.reduce((last, { endedUs }) => Math.max(last, endedUs), 0) / 1e6;
}

function sum(records: readonly RequestRecord[], of: (record: RequestRecord) => number): number {
  return records.reduce((total, record) => total + of(record), 0);
}

function tally<K extends string>(keys: readonly K[]): Partial<Record<K, number>> {
  const counts: Partial<Record<K, number>> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
}

function errorReports(records: readonly RequestRecord[]): readonly ErrorReport[] {
  const byClass = new Map<ErrorClass, { count: number; readonly example: string }>();
  for (const { error } of records) {
    if (error === null) continue;
    const known = byClass.get(error.class);
    if (known === undefined) byClass.set(error.class, { count: 1, example: error.message });
    else known.count++;
  }
  return [...byClass]
    .map(([name, { count, example }]) => ({
      class: name,
      count,
      meaning: errorClasses[name].meaning,
      advice: errorClasses[name].advice,
      example,
    }))
    .sort((a, b) => b.count - a.count);
}

/** One report per group, none where there is only one. */
function groups(
  records: readonly RequestRecord[],
  key: (record: RequestRecord) => number,
  name: (key: number) => string,
  options: FluidityOptions,
): readonly GroupReport[] {
  const parts = new Map<number, RequestRecord[]>();
  for (const record of records) {
    const part = parts.get(key(record));
    if (part === undefined) parts.set(key(record), [record]);
    else part.push(record);
  }
  if (parts.size < 2) return [];
  return [...parts]
    .sort(([a], [b]) => a - b)
    .map(([group, members]) => {
      const samples = latencySamples(members);
      return {
        name: name(group),
        requests: members.length,
        failed: members.filter(({ status }) => status !== "ok").length,
        ttftMs: latencyMs(samples.ttft),
        tbtMs: latencyMs(samples.tbt),
        e2eMs: latencyMs(samples.e2e),
        fluidity: fluidityReport(members, options).index,
      };
    });
}

/** Spread of gaps, relative to their median, below which an answer counts as paced, and the gaps it takes to tell. */
const PACED_SPREAD = 0.02;
const PACED_GAPS = 8;

/** Gaps between chunks that are all alike: no computation is so even, somebody paces the output (bench.md, 6.11). */
function isPaced(record: RequestRecord): boolean {
  const gaps = tokenGaps({ ...record, askedChoices: 1 }, record.scheduledUs)[0];
  const shown = gaps
    ?.subarray(1)
    .filter((gap) => gap > 0)
    .sort();
  if (shown === undefined || shown.length < PACED_GAPS) return false;
  const at = (q: number): number => shown[Math.floor(q * (shown.length - 1))] as number;
  return at(0.95) - at(0.05) < PACED_SPREAD * at(0.5);
}
