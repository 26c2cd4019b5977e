/**
 * Schedules: who is sent when, decided before the first byte is sent. Lengths, classes and the usual arrival processes
 * are those of the simulator (generateWorkload of @millrace/serving); ramps, sweeps, closed loops, sessions and traces
 * with sessions are added here. Open loops are absolute: no request's time depends on another's fate.
 */
import { contentHash, invariant, MillraceError, Rng } from "@millrace/core";
import {
  generateWorkload,
  type RequestTable,
  type TraceRows,
  type WorkloadSpec,
} from "@millrace/serving";
import type { ClosedLoop, LoadSpec, LoadTrace, Schedule, ScheduledRequest } from "../contracts.ts";
import { conditioned, rampTimes, steadyRate, sweepTimes } from "./arrival-times.ts";
import { checkLoad } from "./check.ts";
import { SessionPlan } from "./sessions.ts";

/** What a schedule may need besides its spec. */
export interface ScheduleInputs {
  /** Traces by the path that the spec names. */
  readonly traces?: Readonly<Record<string, LoadTrace>>;
  /** Lengths of a prompt file, used row after row where the spec names no lengths. Prompt 0 = unknown. */
  readonly fileLengths?: { readonly promptTokens: Int32Array; readonly outputTokens: Int32Array };
}

/** Requests that a closed loop without a number of requests is dealt at a time. */
const PIECE = 4096;

/** Tokens per block of hashes where a trace does not say (Mooncake). */
export const DEFAULT_BLOCK_TOKENS = 512;

/**
 * A schedule that may be longer than it is worth writing down: a closed loop limited by time alone has a request for
 * whoever asks. `request(i)` is undefined behind the end.
 */
export class ScheduleSource {
  readonly schedule: Schedule;
  private readonly rows: ScheduledRequest[];
  private readonly more: ((from: number) => readonly ScheduledRequest[]) | null;

  constructor(schedule: Schedule, more: ((from: number) => readonly ScheduledRequest[]) | null) {
    this.schedule = schedule;
    this.rows = schedule.requests.slice();
    this.more = more;
  }

  /** Requests in all; Infinity when only time ends it. */
  get count(): number {
    return this.more === null ? this.rows.length : Number.POSITIVE_INFINITY;
  }

  request(index: number): ScheduledRequest | undefined {
    if (this.more !== null)
      while (index >= this.rows.length) this.rows.push(...this.more(this.rows.length));
    return this.rows[index];
  }
}

/** The schedule of a spec. Pure: equal spec, seed and inputs give equal bytes. Throws MillraceError CONFIG_INVALID. */
export function buildSchedule(
  load: LoadSpec,
  seed: number | string,
  inputs: ScheduleInputs = {},
): Schedule {
  return scheduleSource(load, seed, inputs).schedule;
}

/** Like buildSchedule, for specs that may have no last request. */
export function scheduleSource(
  load: LoadSpec,
  seed: number | string,
  inputs: ScheduleInputs = {},
): ScheduleSource {
  checkLoad(load);
  const closed = load.arrivals.type === "closed" ? load.arrivals : null;
  const plan = new SessionPlan(load.sessions, new Rng(seed).fork("sessions"));
  const endless = closed !== null && load.requests === undefined;
  const first = endless ? { ...load, requests: PIECE } : load;
  const { table, stage, seconds, trace } = firstTurns(first, seed, inputs);
  const requests = rowsOf(first, seed, inputs, { table, stage, trace, plan, closed, from: 0 });
  const schedule: Schedule = {
    seed: String(seed),
    requests,
    classes: table.classes,
    closed,
    duration: load.duration ?? seconds,
    blockTokens: trace?.blockTokens ?? DEFAULT_BLOCK_TOKENS,
  };
  if (!endless) return new ScheduleSource(schedule, null);
  let piece = 0;
  return new ScheduleSource(schedule, (from) => {
    piece++;
    const again = `${seed}/more${piece}`;
    const next = firstTurns(first, again, inputs);
    return rowsOf(first, again, inputs, { ...next, plan, closed, from });
  });
}

/** Canonical digest of a schedule: equal for equal schedules on every machine. */
export function scheduleHash(schedule: Schedule): string {
  return contentHash(schedule.requests);
}

/** First turns as the table that the simulator runs, e.g. to predict what the run will measure. */
export function scheduleTable(schedule: Schedule): RequestTable {
  const first = schedule.requests.filter((r) => r.turn === 0 && !r.warmup);
  return {
    count: first.length,
    arrivedAt: Float64Array.from(first, (r) => Math.max(0, r.at)),
    promptTokens: Int32Array.from(first, (r) => Math.max(1, r.promptTokens)),
    outputTokens: Int32Array.from(first, (r) => r.outputTokens),
    classIndex: Uint8Array.from(first, (r) => r.classIndex),
    classes: schedule.classes,
    ids: first.map((r) => r.id),
  };
}

interface FirstTurns {
  readonly table: RequestTable;
  readonly stage: Uint16Array | null;
  readonly seconds: number;
  /** The trace whose rows the table has in order, for what TraceRows cannot carry. */
  readonly trace: LoadTrace | null;
}

const FILE_LENGTHS = "lengths of the prompt file";

function firstTurns(load: LoadSpec, seed: number | string, inputs: ScheduleInputs): FirstTurns {
  const { arrivals } = load;
  const traces: Record<string, TraceRows> = { ...inputs.traces };
  let lengths = load.lengths;
  if (lengths === undefined && arrivals.type === "trace")
    lengths = { type: "trace", path: arrivals.path, order: "file" };
  if (lengths === undefined && inputs.fileLengths !== undefined) {
    const { promptTokens, outputTokens } = inputs.fileLengths;
    traces[FILE_LENGTHS] = {
      count: promptTokens.length,
      arrivedAt: null,
      promptTokens,
      outputTokens,
    };
    lengths = { type: "trace", path: FILE_LENGTHS, order: "file" };
  }
  const spec: WorkloadSpec = {
    ...(lengths !== undefined && { lengths }),
    ...(load.maxTokens !== undefined && { maxTokens: load.maxTokens }),
    ...(load.clip !== undefined && { clip: load.clip }),
    ...(load.classes !== undefined && { classes: load.classes }),
  };
  const generate = (more: Partial<WorkloadSpec>): RequestTable =>
    generateWorkload({ ...spec, ...more }, seed, { traces });
  const at0 = { type: "static" } as const;
  if (arrivals.type === "closed") {
    const table = generate({ arrivals: at0, requests: load.requests ?? PIECE });
    return { table, stage: null, seconds: load.duration ?? Number.POSITIVE_INFINITY, trace: null };
  }
  if (arrivals.type === "ramp" || arrivals.type === "sweep") {
    const rng = new Rng(seed).fork("arrivals");
    const times = arrivals.type === "ramp" ? rampTimes(arrivals, rng) : sweepTimes(arrivals, rng);
    const until = load.duration ?? Number.POSITIVE_INFINITY;
    let n = Math.min(times.at.length, load.requests ?? times.at.length);
    while (n > 0 && (times.at[n - 1] as number) >= until) n--;
    if (n === 0)
      return { ...nothing(generate({ arrivals: at0, requests: 1 })), seconds: times.seconds };
    const table = generate({ arrivals: at0, requests: n });
    return {
      table: { ...table, arrivedAt: times.at.slice(0, n) },
      stage: times.stage,
      seconds: Math.min(times.seconds, until),
      trace: null,
    };
  }
  const rate = steadyRate(arrivals);
  const ownArrivals = load.classes?.some((c) => c.arrivals !== undefined) ?? false;
  if (rate !== null && !ownArrivals) {
    const byTime = Math.round(rate * (load.duration ?? Number.POSITIVE_INFINITY));
    const n = Math.min(load.requests ?? Number.POSITIVE_INFINITY, Math.max(1, byTime));
    const table = generate({ arrivals, requests: n + 1 });
    const seconds = n === byTime && load.duration !== undefined ? load.duration : n / rate;
    const cut = {
      ...table,
      count: n,
      arrivedAt: conditioned(table.arrivedAt, seconds),
      promptTokens: table.promptTokens.subarray(0, n),
      outputTokens: table.outputTokens.subarray(0, n),
      classIndex: table.classIndex.subarray(0, n),
    };
    return { table: cut, stage: null, seconds, trace: null };
  }
  const table = generate({
    arrivals,
    ...(load.requests !== undefined && { requests: load.requests }),
    ...(load.duration !== undefined && { duration: load.duration }),
  });
  const last = table.arrivedAt[table.count - 1] ?? 0;
  const trace = arrivals.type === "trace" ? (inputs.traces?.[arrivals.path] ?? null) : null;
  const replayed =
    lengths?.type === "trace" && arrivals.type === "trace" && lengths.path === arrivals.path;
  return { table, stage: null, seconds: last, trace: replayed ? trace : null };
}

function nothing(table: RequestTable): { table: RequestTable; stage: null; trace: null } {
  return {
    table: { ...table, count: 0, arrivedAt: new Float64Array(0) },
    stage: null,
    trace: null,
  };
}

interface RowParts extends Pick<FirstTurns, "table" | "stage" | "trace"> {
  readonly plan: SessionPlan;
  readonly closed: ClosedLoop | null;
  readonly from: number;
}

function rowsOf(
  load: LoadSpec,
  seed: number | string,
  inputs: ScheduleInputs,
  { table, stage, trace, plan, closed, from }: RowParts,
): ScheduledRequest[] {
  const rows: ScheduledRequest[] = [];
  const first = load.arrivals.type === "trace" ? firstRow(trace, load.arrivals.from ?? 0) : 0;
  const follow = plan.single ? null : followUps(load, seed, inputs, plan, table.count, from);
  for (let i = 0; i < table.count; i++) {
    const row = first + i;
    const at = closed !== null ? -1 : (table.arrivedAt[i] as number);
    const base = {
      session: from + rows.length,
      think: 0,
      classIndex: table.classIndex[i] as number,
      stage: stage?.[i] ?? 0,
      warmup: false,
    };
    const index = from + rows.length;
    rows.push({
      ...base,
      index,
      id: trace?.ids?.[row] ?? String(index),
      at,
      turn: 0,
      promptTokens: table.promptTokens[i] as number,
      outputTokens: table.outputTokens[i] as number,
      prefixHashes: trace?.prefixHashes?.[row] ?? null,
    });
    if (follow === null) continue;
    for (const next of follow(i)) {
      const at = from + rows.length;
      rows.push({ ...base, ...next, index: at, id: String(at), at: -1, prefixHashes: null });
    }
  }
  return trace?.sessions == null ? rows : traceSessions(rows, trace.sessions, first);
}

function firstRow(trace: LoadTrace | null, from: number): number {
  let row = 0;
  while (trace?.arrivedAt != null && row < trace.count && (trace.arrivedAt[row] as number) < from)
    row++;
  return row;
}

/** Later turns of every session, with lengths from a stream of their own so that turn counts change nothing else. */
function followUps(
  load: LoadSpec,
  seed: number | string,
  inputs: ScheduleInputs,
  plan: SessionPlan,
  sessions: number,
  from: number,
): (i: number) => Pick<ScheduledRequest, "turn" | "think" | "promptTokens" | "outputTokens">[] {
  const turns = Array.from({ length: sessions }, () => plan.turns());
  const total = turns.reduce((a, b) => a + b - 1, 0);
  if (total === 0) return () => [];
  const closedAlike: LoadSpec = {
    ...load,
    arrivals: { type: "closed", concurrency: 1 },
    requests: total,
  };
  invariant(from >= 0, "sessions count from 0");
  if (load.lengths === undefined && inputs.fileLengths === undefined) {
    throw new MillraceError("CONFIG_INVALID", "sessions need lengths for their later turns", {
      hint: "set lengths",
    });
  }
  const { table } = firstTurns(closedAlike, `${seed}/turns`, inputs);
  let next = 0;
  return (i) =>
    Array.from({ length: (turns[i] as number) - 1 }, (_, k) => {
      const row = next++;
      return {
        turn: k + 1,
        think: plan.think(),
        promptTokens: table.promptTokens[row] as number,
        outputTokens: table.outputTokens[row] as number,
      };
    });
}

/** Rows of one session of a trace are its turns: they keep their time but wait for the answer before. */
function traceSessions(
  rows: readonly ScheduledRequest[],
  sessions: Int32Array,
  first: number,
): ScheduledRequest[] {
  const seen = new Map<number, { readonly session: number; turns: number }>();
  return rows.map((row, i) => {
    const key = sessions[first + i] as number;
    const known = seen.get(key);
    if (known === undefined) {
      seen.set(key, { session: row.index, turns: 1 });
      return row;
    }
    return { ...row, session: known.session, turn: known.turns++ };
  });
}
