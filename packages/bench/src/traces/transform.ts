/** What can be done to a trace on its way: cut, scaled in time, limited. And what it is like. */
import { MillraceError, quantileSorted } from "@millrace/core";
import type { LoadTrace } from "../contracts.ts";

export interface TraceTransform {
  /** Seconds from the first arrival. */
  readonly from?: number;
  readonly to?: number;
  /** Rate is multiplied by it: 2 = twice as fast. */
  readonly speed?: number;
  readonly requests?: number;
}

/** Applies the transform. Throws TRACE_INVALID when nothing is left, or when times are asked of a trace without any. */
export function transformTrace(trace: LoadTrace, transform: TraceTransform): LoadTrace {
  const { from = 0, to = Number.POSITIVE_INFINITY, speed = 1, requests = trace.count } = transform;
  const timed = trace.arrivedAt;
  if (timed === null && (from > 0 || Number.isFinite(to) || speed !== 1))
    throw new MillraceError("TRACE_INVALID", "the trace has no arrival times to cut or scale", {
      hint: "leave --start, --end and --speed out",
    });
  const rows: number[] = [];
  for (let i = 0; i < trace.count && rows.length < requests; i++) {
    const at = timed?.[i] ?? 0;
    if (at >= from && at < to) rows.push(i);
  }
  const [first] = rows;
  if (first === undefined)
    throw new MillraceError("TRACE_INVALID", `no request arrives from ${from} s to ${to} s`, {
      hint: "widen --start and --end",
    });
  const origin = timed?.[first] ?? 0;
  const pick = <T>(of: readonly T[] | null): readonly T[] | null =>
    of === null ? null : rows.map((i) => of[i] as T);
  return {
    count: rows.length,
    arrivedAt:
      timed === null
        ? null
        : Float64Array.from(
            rows,
            (i) => Math.round((((timed[i] as number) - origin) / speed) * 1e6) / 1e6,
          ),
    promptTokens: Int32Array.from(rows, (i) => trace.promptTokens[i] as number),
    outputTokens: Int32Array.from(rows, (i) => trace.outputTokens[i] as number),
    ids: pick(trace.ids),
    prefixHashes: pick(trace.prefixHashes),
    blockTokens: trace.blockTokens,
    sessions:
      trace.sessions === null ? null : Int32Array.from(rows, (i) => trace.sessions?.[i] ?? -1),
  };
}

/** Quantiles of lengths. */
export interface LengthFigures {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** What a trace is like; null for what it does not say. */
export interface TraceFigures {
  readonly requests: number;
  readonly seconds: number | null;
  readonly qps: number | null;
  /** Coefficient of variation of the gaps between arrivals; 1 = Poisson. */
  readonly cv: number | null;
  readonly prompt: LengthFigures;
  readonly output: LengthFigures;
  /** Share of prompt tokens in blocks that an earlier request had too: what an unbounded prefix cache would save. */
  readonly sharedPrefix: number | null;
  readonly sessions: number | null;
}

export function traceFigures(trace: LoadTrace): TraceFigures {
  const { arrivedAt, count } = trace;
  const seconds = arrivedAt === null ? null : (arrivedAt[count - 1] as number);
  let cv: number | null = null;
  if (arrivedAt !== null && count > 2 && (seconds ?? 0) > 0) {
    const gaps = arrivedAt.subarray(1).map((at, i) => at - (arrivedAt[i] as number));
    const mean = gaps.reduce((a, b) => a + b, 0) / gaps.length;
    cv = Math.sqrt(gaps.reduce((a, b) => a + (b - mean) ** 2, 0) / gaps.length) / mean;
  }
  return {
    requests: count,
    seconds,
    qps: seconds !== null && seconds > 0 ? count / seconds : null,
    cv,
    prompt: lengths(trace.promptTokens),
    output: lengths(trace.outputTokens),
    sharedPrefix: sharedPrefix(trace),
    sessions: trace.sessions === null ? null : new Set(trace.sessions).size,
  };
}

function lengths(values: Int32Array): LengthFigures {
  const sorted = Float64Array.from(values).sort();
  const at = (q: number): number => quantileSorted(sorted, q);
  const mean = sorted.reduce((a, b) => a + b, 0) / sorted.length;
  return {
    mean,
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    max: sorted[sorted.length - 1] as number,
  };
}

function sharedPrefix({ prefixHashes, blockTokens, promptTokens }: LoadTrace): number | null {
  if (prefixHashes === null) return null;
  const seen = new Set<number>();
  let shared = 0;
  let all = 0;
  prefixHashes.forEach((hashes, i) => {
    all += promptTokens[i] as number;
    // A cache hits up to the first block that is new.
    let hits = 0;
    while (hits < hashes.length && seen.has(hashes[hits] as number)) hits++;
    shared += Math.min(hits * blockTokens, promptTokens[i] as number);
    for (const hash of hashes) seen.add(hash);
  });
  return all > 0 ? shared / all : 0;
}
