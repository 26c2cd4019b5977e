/** The terms of an SLO and what was found, as tables and sentences. Latencies are in seconds; fluidity terms are shares. */
import type { TableBlock } from "./document.ts";
import { type NumberFormat, writeNumber, writeRound } from "./format.ts";

/** A term of an SLO with what was found; `term` names metric and quantile, e.g. "ttft p90". */
export interface SloCheckInput {
  readonly term: string;
  /** Seconds, or 0 … 1 for terms that start with "fluidity". */
  readonly limit: number;
  readonly value: number;
  readonly met: boolean;
}

/** Terms that start with it are shares with a lower limit; all others are seconds with an upper one. */
function isShare(term: string): boolean {
  return /^fluidity/i.test(term);
}

/** How values of a term are written. */
export function sloFormat(term: string): NumberFormat {
  return isShare(term) ? "percent" : "seconds";
}

/** "TTFT p90": the names of metrics as the field writes them. */
export function sloName(term: string): string {
  return term
    .replace(/\b(ttft|tbt|tpot)\b/gi, (m) => m.toUpperCase())
    .replace(/\be2e\b/gi, "end-to-end")
    .replace(/\bschedulingDelay\b/gi, "scheduling delay")
    .replace(/\bnormalizedLatency\b/gi, "normalized latency")
    .replace(/\bfluidityShare\b/gi, "requests with fluidity ≥ 0.9")
    .replace(/^fluidity\b/i, "fluidity-index");
}

/** "TTFT p90 is 1.02 s (limit 2 s)". */
export function sloSentence(check: SloCheckInput): string {
  const format = sloFormat(check.term);
  return `${sloName(check.term)} is ${writeNumber(check.value, format)} (limit ${writeRound(check.limit, format)})`;
}

/** Share of the limit that is used up; above 1 = breached. */
export function sloUse(check: SloCheckInput): number {
  return isShare(check.term) ? check.limit / check.value : check.value / check.limit;
}

/** One line per term: tick or cross, what was found, its limit, and how much of the limit is used. */
export function sloTable(checks: readonly SloCheckInput[], caption: string): TableBlock {
  return {
    kind: "table",
    caption,
    columns: [
      { header: "Term", kind: "text" },
      { header: "Met", kind: "check" },
      { header: "Found", kind: "number" },
      { header: "Limit", kind: "number" },
      { header: "Of the limit", kind: "number", format: "percent", bar: 1 },
    ],
    rows: checks.map((c) => ({
      cells: [
        sloName(c.term),
        c.met,
        { text: writeNumber(c.value, sloFormat(c.term)), note: "" },
        {
          text: `${isShare(c.term) ? "≥" : "≤"} ${writeRound(c.limit, sloFormat(c.term))}`,
          note: "",
        },
        sloUse(c),
      ],
    })),
  };
}
