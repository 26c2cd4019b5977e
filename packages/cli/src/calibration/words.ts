/** Figures of a calibration in words, for terminal and report alike. */
import { formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import type { TwinSlo } from "@millrace/sim/twin";
import type { FigureSummary } from "./result.ts";

const names: Readonly<Record<string, string>> = {
  ttft: "time to first token",
  tbt: "time between tokens",
  e2e: "end to end",
  requestsPerSecond: "requests per second",
  outputTokensPerSecond: "output tokens per second",
  "fluidity.index": "fluidity-index",
  "fluidity.shareAbove90": "requests with fluidity-index ≥ 0.9",
  "kv.peakPages": "KV page groups, most at once",
  "kv.meanPages": "KV page groups, mean",
  preemptions: "preemptions",
  steps: "steps of the engine",
};

/** `time to first token p90`. */
export function figureName(figure: string): string {
  const known = names[figure];
  if (known !== undefined) return known;
  const [metric = "", quantile = ""] = figure.split(".");
  return `${names[metric] ?? metric} ${quantile}`;
}

/** Lowest and highest; a dash where there is none. */
export function rangeText(
  low: number | null,
  high: number | null,
  unit: FigureSummary["unit"],
): string {
  return low === null || high === null
    ? "–"
    : `${figureText(low, unit)} – ${figureText(high, unit)}`;
}

export function figureText(value: number | null, unit: FigureSummary["unit"]): string {
  if (value === null) return "–";
  if (unit === "share") return formatPercent(value);
  return unit === "s" ? formatSeconds(value) : formatNumber(value);
}

/** `+3.1%`. */
export function errorText(error: number | null): string {
  if (error === null) return "–";
  return `${error >= 0 ? "+" : "−"}${Math.abs(100 * error).toFixed(1)}%`;
}

/** `3.1% too long`: of predicted times. */
export function offText(error: number): string {
  return `${Math.abs(100 * error).toFixed(1)}% too ${error < 0 ? "short" : "long"}`;
}

/** Where a request's time goes. */
export const partNames = {
  arrival: "client, HTTP, tokenisation",
  queueing: "queueing",
  prefill: "steps to the first token",
  decode: "steps to the last token",
  delivery: "delivery",
} as const;

/** What figures without a value lack, and how many requests would give them; null where all have one. */
export function missingText(figures: readonly FigureSummary[]): string | null {
  const needed = figures
    .filter(({ measured }) => measured === null)
    .flatMap(({ figure }) => NEEDED[figure.split(".")[1] ?? ""] ?? []);
  if (needed.length === 0) return null;
  return `– : fewer than ten samples lie beyond the quantile; ${Math.max(...needed)} requests give them (--requests)`;
}

/** Requests that leave ten beyond the quantile. */
const NEEDED: Readonly<Record<string, number>> = { p50: 20, p90: 101, p99: 1001 };

/** `ttft.p90<=2s, tbt.p99<=0.4s`. */
export function promised(slo: readonly TwinSlo[]): string {
  return slo
    .map((term) => `${term.metric}.p${100 * term.quantile}<=${term.limitSeconds}s`)
    .join(", ");
}
