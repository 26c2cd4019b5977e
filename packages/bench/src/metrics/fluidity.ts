/** The fluidity-index of a run: every request counts, also those that never answered (bench.md, sections 1.2 and 6.1). */
import {
  type AcceptancePoint,
  acceptanceCurve,
  FluidityColumns,
  fluidTokenRate,
  minTbtToMeet,
  scoreEtalon,
} from "@millrace/serving";
import type { FluidityReport, RequestRecord, Targets } from "../contracts.ts";
import { recordTargetUs } from "./targets.ts";
import { tokenGaps } from "./token-streams.ts";

/** Score of one request over all its choices. */
export interface RequestFluidity {
  readonly met: number;
  readonly missed: number;
  /** met / (met + missed). */
  readonly index: number;
  /** Tokens generated, or asked for where that is more and the request failed. */
  readonly tokens: number;
}

export interface FluidityOptions {
  readonly targets: Targets;
  /** exact: whole microseconds. etalon: its float seconds, digit for digit. */
  readonly arithmetic: "exact" | "etalon";
}

/**
 * Scores a request from the time the schedule wanted it. One that failed, was refused or abandoned meets nothing and
 * misses all tokens it was asked for, or what it had met and missed already if that is more.
 */
export function requestFluidity(
  record: RequestRecord,
  { targets, arithmetic }: FluidityOptions,
): RequestFluidity {
  const asked = record.askedOutputTokens * record.askedChoices;
  const targetUs =
    record.status === "ok" ? recordTargetUs(targets.ttft, record) : failedTarget(targets);
  let met = 0;
  let missed = 0;
  for (const gaps of tokenGaps(record, record.scheduledUs)) {
    if (arithmetic === "etalon") {
      const score = scoreEtalon(gaps, targetUs, targets.tbtUs);
      met += score.met;
      missed += score.missed;
      continue;
    }
    const columns = new FluidityColumns(1, targets.tbtUs);
    columns.begin(0, 0, targetUs);
    let now = 0;
    for (const gap of gaps) {
      now += gap;
      columns.emit(0, now, 1);
    }
    met += columns.met[0] as number;
    missed += columns.missed[0] as number;
  }
  if (record.status !== "ok" || met + missed === 0) {
    missed = Math.max(asked, met + missed);
    return { met: 0, missed, index: 0, tokens: Math.max(asked, record.tokens) };
  }
  return { met, missed, index: met / (met + missed), tokens: record.tokens };
}

/** A failed request misses all the same; its target only decides how much it had missed before. */
function failedTarget({ ttft }: Targets): number {
  return ttft.type === "constant" ? ttft.us : ttft.slackUs;
}

/** Pools the scores; `records` without warm-up. O(tokens). */
export function fluidityReport(
  records: readonly RequestRecord[],
  options: FluidityOptions,
): FluidityReport {
  let met = 0;
  let missed = 0;
  let tokens = 0;
  let above = 0;
  for (const record of records) {
    const score = requestFluidity(record, options);
    met += score.met;
    missed += score.missed;
    tokens += score.tokens;
    if (score.index >= 0.9) above++;
  }
  const total = met + missed;
  return {
    targets: options.targets,
    met,
    missed,
    index: total > 0 ? met / total : 0,
    missRate: total > 0 ? missed / total : 0,
    shareAbove90: records.length > 0 ? above / records.length : 0,
    onTimeShare: tokens > 0 ? met / tokens : 0,
    fluidTokenRate: fluidTokenRate(records.flatMap(minTargets)),
    arithmetic: options.arithmetic,
  };
}

/** Smallest TBT target per stream of a request; Infinity for a request that failed. */
function minTargets(record: RequestRecord): number[] {
  if (record.status !== "ok") return [Number.POSITIVE_INFINITY];
  return tokenGaps(record, record.scheduledUs).map((gaps) => minTbtToMeet(gaps));
}

/** Targets at which the acceptance curve is drawn, ms: dense where reading speed lies. */
const targetsMs = [
  1, 2, 3, 5, 7, 10, 12, 15, 18, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90, 100, 120, 150, 200, 250,
  300, 400, 500, 700, 1000,
];

/** The TBT acceptance curve: p99 over streams of the deadline-miss rate at each target. */
export function acceptanceOf(records: readonly RequestRecord[]): readonly AcceptancePoint[] {
  if (records.length === 0) return [];
  const streams = records.flatMap((record): readonly (Float64Array | null)[] =>
    record.status === "ok" ? tokenGaps(record, record.scheduledUs) : [null],
  );
  return acceptanceCurve(
    streams,
    targetsMs.map((ms) => ms * 1000),
  );
}
