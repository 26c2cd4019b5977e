/** Latencies of a set of requests, exact quantiles. µs in, ms out. */
import { quantileSorted } from "@millrace/core";
import type { LatencyMs, LatencyReport, RequestRecord } from "../contracts.ts";
import { tokenGaps } from "./token-streams.ts";

/** Sorts `us` in place. */
export function latencyMs(us: Float64Array): LatencyMs {
  us.sort();
  const n = us.length;
  if (n === 0) {
    const no = Number.NaN;
    return { n, mean: no, p50: no, p90: no, p95: no, p99: no, max: no };
  }
  let sum = 0;
  for (const value of us) sum += value;
  const at = (q: number): number => quantileSorted(us, q) / 1e3;
  const max = (us[n - 1] as number) / 1e3;
  return { n, mean: sum / n / 1e3, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), max };
}

/** Sorted latencies by the names that SLO terms use, µs. */
export interface LatencySamples {
  readonly ttft: Float64Array;
  readonly ttftStarted: Float64Array;
  readonly ttfc: Float64Array;
  readonly ttfcStarted: Float64Array;
  readonly tbt: Float64Array;
  readonly chunkGap: Float64Array;
  readonly tpot: Float64Array;
  readonly e2e: Float64Array;
  readonly e2eStarted: Float64Array;
  readonly normalized: Float64Array;
}

/**
 * Collects the samples of requests that succeeded. A failed request has no latency of its own: it counts in the
 * fluidity-index, in goodput and among the errors, so that leaving early never looks fast.
 */
export function latencySamples(records: readonly RequestRecord[]): LatencySamples {
  const done = records.filter(({ status, firstTokenUs }) => status === "ok" && firstTokenUs >= 0);
  const of = (value: (record: RequestRecord) => number): Float64Array =>
    Float64Array.from(done, value)
      .filter((v) => !Number.isNaN(v))
      .sort();
  const content = ({ firstContentUs }: RequestRecord): number =>
    firstContentUs < 0 ? Number.NaN : firstContentUs;
  const tbt: Float64Array[] = [];
  const chunkGap: Float64Array[] = [];
  for (const record of done) {
    for (const gaps of tokenGaps(record, record.scheduledUs)) {
      tbt.push(gaps.subarray(1));
      chunkGap.push(gaps.subarray(1).filter((gap) => gap > 0));
    }
  }
  return {
    ttft: of((r) => r.firstTokenUs - r.scheduledUs),
    ttftStarted: of((r) => r.firstTokenUs - r.startedUs),
    ttfc: of((r) => content(r) - r.scheduledUs),
    ttfcStarted: of((r) => content(r) - r.startedUs),
    tbt: joined(tbt).sort(),
    chunkGap: joined(chunkGap).sort(),
    tpot: of(tpotUs),
    e2e: of((r) => r.lastTokenUs - r.scheduledUs),
    e2eStarted: of((r) => r.lastTokenUs - r.startedUs),
    normalized: of((r) => (r.lastTokenUs - r.scheduledUs) / Math.max(1, r.tokens)),
  };
}

/** Time per output token after the first, µs; NaN with fewer than two. Choices run side by side, so it is per choice. */
export function tpotUs({ firstTokenUs, lastTokenUs, tokens, askedChoices }: RequestRecord): number {
  const after = tokens / askedChoices - 1;
  return after > 0 ? (lastTokenUs - firstTokenUs) / after : Number.NaN;
}

export function latencyReport(samples: LatencySamples): LatencyReport {
  return {
    ttft: { scheduled: latencyMs(samples.ttft), started: latencyMs(samples.ttftStarted) },
    ttfc: { scheduled: latencyMs(samples.ttfc), started: latencyMs(samples.ttfcStarted) },
    tbt: latencyMs(samples.tbt),
    chunkGap: latencyMs(samples.chunkGap),
    tpot: latencyMs(samples.tpot),
    e2e: { scheduled: latencyMs(samples.e2e), started: latencyMs(samples.e2eStarted) },
    normalized: latencyMs(samples.normalized),
  };
}

function joined(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
