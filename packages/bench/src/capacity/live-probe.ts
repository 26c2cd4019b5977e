/** A probe of a live endpoint: one open-loop run at a rate, judged. */
import { MillraceError } from "@millrace/core";
import type { ArrivalSpec } from "@millrace/serving";
import type {
  BenchRun,
  BenchTokenizer,
  Endpoint,
  LoadSpec,
  RequestRecord,
  RunData,
} from "../contracts.ts";
import { summarizeRun } from "../metrics/summary.ts";
import { RunWriter } from "../raw/run-writer.ts";
import { startRun } from "../run/run.ts";
import { errorClasses, notOfLoad } from "../transport/error-class.ts";
import type { Probe } from "./drive.ts";
import { HopelessWatch } from "./hopeless.ts";
import type { CapacityProbe } from "./report.ts";
import { type CapacityGoal, judgeProbe } from "./verdict.ts";

/** What every probe sends, but for its rate. */
export interface ProbeLoad {
  readonly what: Pick<
    LoadSpec,
    "lengths" | "maxTokens" | "clip" | "classes" | "prompts" | "sessions"
  >;
  /** Default poisson; gamma needs `cv`. */
  readonly process?: "poisson" | "constant" | "gamma";
  readonly cv?: number;
  /** Requests that a probe aims at; default 200. Its arrivals last as long as they take, within the two limits. */
  readonly requests?: number;
  /** Seconds of arrivals at least and at most; default 20 and 120. */
  readonly minSeconds?: number;
  readonly maxSeconds?: number;
  /** Seconds that answers may take after the last arrival; default 30. */
  readonly drainSeconds?: number;
  /** Requests before the clock starts, one after the other: they also wait until a server has recovered. Default 2. */
  readonly warmup?: number;
}

export interface LiveProbeOptions {
  readonly endpoint: Endpoint;
  readonly load: ProbeLoad;
  readonly goal: CapacityGoal;
  readonly seed: number | string;
  readonly tokenizer?: BenchTokenizer | null;
  readonly workers?: number;
  /** Raw file of a probe by its number; null keeps none. */
  readonly rawFile?: (number: number) => string | null;
  /** Told about the run in progress, for counters. */
  readonly onRun?: (run: BenchRun, seconds: number) => void;
}

/** Makes probes. Throws what startRun throws for options that cannot be. */
export function liveProbe(options: LiveProbeOptions): Probe {
  return async (rateQps, number, signal) => {
    const { goal, endpoint, load, tokenizer = null, workers, onRun } = options;
    const seconds = arrivalSeconds(load, rateQps);
    const spec = loadAt(load, rateQps, seconds);
    const { ttft, tbtUs } = goal.targets;
    const ttftUs = ttft.type === "constant" ? ttft.us : ttft.slackUs;
    const run = startRun({
      endpoint,
      load: spec,
      // A seed of its own: repeats are new evidence, and no prompt is in a cache of the probe before.
      seed: `${options.seed}/probe-${number}`,
      label: `capacity probe ${number}`,
      tokenizer,
      targets: { tbtUs, ...(ttftUs > 0 ? { ttftUs } : {}) },
      // Of its own, so that its listeners go with it.
      signal: AbortSignal.any([signal]),
      ...(workers === undefined ? {} : { workers }),
    });
    onRun?.(run, seconds);
    const raw = options.rawFile?.(number) ?? null;
    const { data, cutShort } = await collect(run, raw, goal);
    if (signal.aborted) return null;
    refuseDead(data.records);
    const report = summarizeRun(data, { targets: goal.targets, slo: goal.slo });
    const judged = judgeProbe(report, data.records, goal, seconds, cutShort);
    const { requests, throughput, latencyMs, fluidity, slo } = report;
    const all = requests.ok + requests.failed + requests.refused + requests.abandoned;
    const probe: CapacityProbe = {
      number,
      rateQps,
      ...judged,
      cutShort,
      seconds: throughput.seconds,
      requests: all,
      errors: all > 0 ? 1 - requests.ok / all : 0,
      offeredQps: throughput.offeredQps,
      sentQps: throughput.sentQps,
      completedQps: throughput.requestsPerSecond,
      ttftMs: latencyMs.ttft.scheduled,
      tbtMs: latencyMs.tbt,
      fluidRequests: fluidity.shareAbove90,
      slo,
      raw,
    };
    return probe;
  };
}

/** Seconds over which a probe's requests arrive. */
export function arrivalSeconds(
  { requests = 200, minSeconds = 20, maxSeconds = 120 }: ProbeLoad,
  rateQps: number,
): number {
  return Math.min(Math.max(requests / rateQps, Math.min(minSeconds, maxSeconds)), maxSeconds);
}

/** The load of a probe. */
export function loadAt(load: ProbeLoad, rateQps: number, seconds: number): LoadSpec {
  const { what, warmup = 2, drainSeconds = 30 } = load;
  return {
    ...what,
    arrivals: arrivalsAt(load, rateQps),
    duration: seconds,
    drainSeconds,
    warmup: { requests: warmup, concurrency: 1 },
  };
}

function arrivalsAt({ process = "poisson", cv = 1 }: ProbeLoad, qps: number): ArrivalSpec {
  if (process === "constant") return { type: "static", qps };
  return process === "gamma" ? { type: "gamma", qps, cv } : { type: "poisson", qps };
}

async function collect(
  run: BenchRun,
  raw: string | null,
  goal: CapacityGoal,
): Promise<{ readonly data: RunData; readonly cutShort: boolean }> {
  // A run that cannot start has no header; its end says why.
  const header = await Promise.race([run.header, run.end.then(() => run.header)]);
  const writer = raw === null ? null : new RunWriter(raw, header);
  const watch = new HopelessWatch(goal, header.scheduled ?? 0);
  const records: RequestRecord[] = [];
  let cutShort = false;
  for await (const record of run) {
    records.push(record);
    writer?.record(record);
    if (!cutShort && watch.hopeless(record)) {
      cutShort = true;
      run.stop();
    }
  }
  const end = await run.end;
  writer?.end(end);
  // What was cancelled by us says nothing of the server.
  const own = cutShort ? records.filter(endedByItself) : records;
  return { data: { header, records: own, end }, cutShort };
}

function endedByItself({ status, error }: RequestRecord): boolean {
  return status !== "abandoned" && error?.class !== "cancelled";
}

/** Throws ENVIRONMENT_MISSING when the warm-up failed, or everything did, for a reason that is not load. */
function refuseDead(records: readonly RequestRecord[]): void {
  for (const group of [records.filter((r) => r.warmup), records.filter((r) => !r.warmup)]) {
    const failures = group.flatMap((r) => r.error ?? []);
    const first = failures[0];
    if (first === undefined || failures.length < group.length) continue;
    if (!failures.every((f) => notOfLoad.has(f.class))) continue;
    throw new MillraceError(
      "ENVIRONMENT_MISSING",
      `the endpoint cannot be measured: ${first.class}: ${first.message}`,
      { hint: errorClasses[first.class].advice },
    );
  }
}
