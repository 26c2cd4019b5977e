/** Records and reports of runs for tests of verdicts, made by hand and summed up by the real thing. */
import type { RequestRecord, RunData, RunEnd } from "../contracts.ts";
import { summarizeRun } from "../metrics/summary.ts";
import type { CapacityGoal } from "./verdict.ts";

/** A request that arrives at `at` s, gets its first token after `ttft` s and `tokens` more every `tbt` s. */
export interface Sketch {
  readonly at: number;
  readonly ttft: number;
  readonly tbt?: number;
  readonly tokens?: number;
  readonly failed?: boolean;
}

export function recordsOf(sketches: readonly Sketch[]): RequestRecord[] {
  return sketches.map(({ at, ttft, tbt = 0.01, tokens = 5, failed = false }, index) => {
    const n = failed ? 0 : tokens;
    const scheduledUs = at * 1e6;
    const timeUs = Float64Array.from({ length: n }, (_, i) => scheduledUs + 1e6 * (ttft + i * tbt));
    const lastTokenUs = timeUs.at(-1) ?? -1;
    const no = { message: "503", body: null, retryAfterSeconds: null };
    const error = { class: "overloaded", ...no } as const;
    return {
      ...{ index, id: String(index), classIndex: 0, session: index, turn: 0, stage: 0 },
      ...{ warmup: false, status: failed ? "failed" : "ok", error: failed ? error : null },
      ...{ scheduledUs, startedUs: scheduledUs, connectedUs: scheduledUs },
      ...{ reusedConnection: true, headersUs: scheduledUs },
      ...{ firstEventUs: timeUs[0] ?? -1, firstTokenUs: timeUs[0] ?? -1 },
      ...{ firstContentUs: timeUs[0] ?? -1, lastTokenUs },
      endedUs: failed ? scheduledUs + 1000 : lastTokenUs,
      ...{ askedPromptTokens: 10, askedOutputTokens: tokens, askedChoices: 1, tokens: n },
      ...{ tokenSource: "ids", usageDisagreement: null, usage: null, finish: ["length"] },
      chunks: {
        timeUs,
        tokens: new Int32Array(n).fill(1),
        chars: new Int32Array(n).fill(1),
        choice: new Uint16Array(n),
        kind: new Uint8Array(n),
        serverUs: null,
      },
      ...{ reads: n, bytesIn: n, httpStatus: failed ? 503 : 200, attempts: 1, warnings: [] },
      ...{ serverTimings: null, server: null, text: null, worker: 0 },
    } as const satisfies RequestRecord;
  });
}

/** The run of these records, valid unless `reasons` speak against it. */
export function runOf(records: readonly RequestRecord[], reasons: readonly string[] = []): RunData {
  const quantiles = { n: 1, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };
  const self = {
    workers: [],
    canary: quantiles,
    eventLoop: quantiles,
    startLateness: quantiles,
    textChunksPerRead: 1,
    cores: 0,
    verdict: reasons.length === 0 ? "VALID" : "INVALID",
    reasons,
    limits: { canaryP99Us: 3000, startLatenessP99Us: 10_000 },
  } as const;
  const ok = records.filter(({ status }) => status === "ok").length;
  const end: RunEnd = {
    ...{ kind: "end", reason: "complete", seconds: 10, scheduled: records.length },
    ...{ sent: records.length, ok, failed: records.length - ok, refused: 0, abandoned: 0 },
    ...{ warmupRequests: 0, offeredQps: 1, sentQps: 1, costDollars: 0, self },
  };
  return {
    header: {
      ...{ schema: "millrace.bench-run/1", label: "", startedAt: "", startMonotonicNs: "0" },
      ...{ host: "", tool: "", seed: "1", classes: [{ name: "all", priority: 0 }] },
      endpoint: { url: "", api: "chat", model: "m", choices: 1 },
      load: { arrivals: { type: "poisson", qps: 1 } },
      scheduled: records.length,
      tokenizer: null,
    },
    records,
    end,
  };
}

export function reportOf(records: readonly RequestRecord[], goal: CapacityGoal, why?: string[]) {
  return summarizeRun(runOf(records, why), { targets: goal.targets, slo: goal.slo });
}
