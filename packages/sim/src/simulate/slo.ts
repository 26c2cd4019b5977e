/** Checks the terms of an SLO against a finished run. */
import type { QuantileSketch } from "@millrace/core";
import { quantileSorted } from "@millrace/core";
import type { FluiditySummary, RequestMetrics, RequestTable } from "@millrace/serving";
import type { SloCheck, SloTerm } from "../types.ts";

/** `TTFT p90 <= 2 s`, as people write it. */
export function sloName(term: SloTerm): string {
  if (term.metric === "fluidity") return "fluidity-index";
  if (term.metric === "fluidityShare") return "fluidity-index >= 0.9, share of requests";
  const names = {
    ttft: "TTFT",
    tbt: "TBT",
    e2e: "e2e",
    schedulingDelay: "scheduling delay",
    normalizedLatency: "normalized latency",
  } as const;
  const percent = Math.round(term.quantile * 1e6) / 1e4;
  return `${names[term.metric]} ${term.quantile === 1 ? "max" : `p${percent}`}`;
}

/** Sorted samples of a per-request latency, seconds; a request that never got that far counts as infinite. */
export function requestSamples(
  metric: "ttft" | "e2e" | "schedulingDelay" | "normalizedLatency",
  table: RequestTable,
  m: RequestMetrics,
): Float64Array {
  const out = new Float64Array(table.count);
  for (let i = 0; i < table.count; i++) {
    const arrived = table.arrivedAt[i]!;
    const at =
      metric === "ttft"
        ? m.firstTokenAt[i]!
        : metric === "schedulingDelay"
          ? m.scheduledAt[i]!
          : m.completedAt[i]!;
    const value =
      metric === "normalizedLatency" ? (at - arrived) / table.outputTokens[i]! : at - arrived;
    out[i] = Number.isNaN(value) ? Number.POSITIVE_INFINITY : value;
  }
  return out.sort();
}

/** Value of every term and whether it is met. Unfinished and rejected requests make latencies infinite, never better. */
export function checkSlo(
  terms: readonly SloTerm[],
  table: RequestTable,
  m: RequestMetrics,
  tbt: QuantileSketch,
  fluidity: FluiditySummary,
): SloCheck[] {
  return terms.map((term) => {
    const name = sloName(term);
    if (term.metric === "fluidity" || term.metric === "fluidityShare") {
      const value = term.metric === "fluidity" ? fluidity.index : fluidity.shareAbove90;
      return { term: name, limit: term.limit, value, met: value >= term.limit };
    }
    const value =
      term.metric === "tbt"
        ? tbt.count === 0
          ? 0
          : tbt.quantile(term.quantile)
        : quantileSorted(requestSamples(term.metric, table, m), term.quantile);
    return { term: name, limit: term.limit, value, met: value <= term.limit };
  });
}
