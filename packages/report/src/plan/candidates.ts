/** The best candidates as a table and bars, and all of them as a trade-off between money and latency. */
import { barChart } from "../charts/bar.ts";
import { frontOf, type GoalAxis, type ParetoPoint, paretoChart } from "../charts/pareto.ts";
import type { Cell, Column, Section } from "../document.ts";
import { sloFormat, sloName } from "../slo.ts";
import type { JudgedConfig, PlanFindings } from "./input.ts";
import { configName, hardwareName, sameConfig, setupName } from "./names.ts";

const SHOWN = 20;

/** The twenty cheapest that meet the SLO; null when nothing was judged. */
export function candidateSection(result: PlanFindings): Section | null {
  const ranked = rankedCandidates(result.candidates);
  if (ranked.length === 0) return null;
  const shown = ranked.slice(0, SHOWN);
  const terms = (shown[0]?.slo ?? []).slice(0, 3).map((s) => s.term);
  const rows = shown.map((c) => ({
    cells: [
      { text: hardwareName(c.config), note: setupName(c.config) },
      c.gpus,
      c.dollarsPerMonth,
      c.dollarsPerMillionTokens,
      c.capacityQps,
      ...terms.map((t) => checkCell(c, t)),
      c.bottleneck,
    ],
    emphasis: isBest(c, result),
  }));
  return {
    id: "candidates",
    heading: "The candidates",
    short: "Candidates",
    blocks: [
      {
        kind: "charts",
        columns: 1,
        charts: [
          {
            title: "Cheapest configurations, dollars a month",
            svg: barChart({
              title: "Cheapest configurations by cost a month",
              description:
                "One bar per configuration; whiskers show the cost at both ends of its capacity interval.",
              format: "dollars",
              limit: 12,
              bars: shown.map((c) => ({
                label: configName(c.config),
                value: c.dollarsPerMonth,
                ...costInterval(c, result),
                emphasis: isBest(c, result),
              })),
            }),
            caption:
              "Whiskers: the cost if capacity were at the low or the high end of its interval. Replicas come whole, so a bar without whiskers costs the same at both ends.",
          },
        ],
      },
      {
        kind: "table",
        caption: `The ${shown.length} cheapest of ${result.candidates.length} judged configurations`,
        columns: [
          ...fixedColumns,
          ...terms.map(termColumn),
          { header: "Bottleneck", kind: "text" },
        ],
        rows,
        note: "Capacity is the highest load of one replica at which the SLO is met, with the interval that seeds and search steps leave. Latencies are at the load each replica would carry.",
      },
    ],
  };
}

/** Every candidate in two charts; null when there are fewer than two with a latency. */
export function tradeoffSection(result: PlanFindings): Section | null {
  const term = latencyTerm(result.candidates);
  if (term === null || result.candidates.length < 2) return null;
  const pareto = new Set(result.pareto);
  const points = result.candidates.map((c, i) => ({
    candidate: c,
    y: c.slo.find((s) => s.term === term)?.value ?? Number.NaN,
    label: configName(c.config),
    group: c.config.device,
    best: isBest(c, result),
    current: result.current !== null && sameConfig(result.current.config, c.config),
    pareto: pareto.has(i),
  }));
  const limit = result.candidates[0]?.slo.find((s) => s.term === term)?.limit;
  const latency: GoalAxis = {
    label: sloName(term),
    format: "seconds",
    better: "low",
    log: spread(points) > 20,
  };
  const byCost: ParetoPoint[] = frontOf(
    points.map((p) => ({ ...p, x: p.candidate.dollarsPerHour })),
    { x: "low", y: "low" },
  );
  const byYield: ParetoPoint[] = points.map((p) => ({ ...p, x: p.candidate.qpsPerDollar }));
  const common = {
    y: latency,
    ...(limit === undefined ? {} : { limit: { value: limit, label: "SLO" } }),
  };
  return {
    id: "trade-off",
    heading: "Money against latency",
    short: "Trade-off",
    blocks: [
      {
        kind: "charts",
        columns: 2,
        charts: [
          {
            title: `Dollars an hour and ${sloName(term)}`,
            svg: paretoChart({
              ...common,
              title: `Dollars an hour against ${sloName(term)}`,
              points: byCost,
              x: { label: "dollars an hour", format: "dollars", better: "low" },
            }),
            caption: "Lower left is better.",
          },
          {
            title: `Requests per dollar and ${sloName(term)}`,
            svg: paretoChart({
              ...common,
              title: `Requests per second and dollar against ${sloName(term)}`,
              points: byYield,
              x: { label: "QPS per $/hour", better: "high" },
            }),
            caption:
              "Lower right is better. No other candidate is both cheaper per request and faster than one on the front.",
          },
        ],
      },
    ],
  };
}

const fixedColumns: readonly Column[] = [
  { header: "Configuration", kind: "text" },
  { header: "GPUs", kind: "number", format: "whole" },
  { header: "Cost a month", kind: "number", format: "dollars", bar: true },
  { header: "Per 1M tokens", kind: "number", format: "dollars" },
  { header: "Capacity", unit: "QPS", kind: "number" },
];

function termColumn(term: string): Column {
  return { header: sloName(term), kind: "number", format: sloFormat(term) };
}

function checkCell(candidate: JudgedConfig, term: string): Cell {
  const check = candidate.slo.find((s) => s.term === term);
  return check === undefined ? null : { value: check.value, met: check.met };
}

/** Those that meet the SLO first, then the cheaper, then the one that serves more per dollar. */
function rankedCandidates(candidates: readonly JudgedConfig[]): JudgedConfig[] {
  const kept = (c: JudgedConfig): number => (c.slo.every((s) => s.met) ? 0 : 1);
  return [...candidates].sort(
    (a, b) =>
      kept(a) - kept(b) || a.dollarsPerHour - b.dollarsPerHour || b.qpsPerDollar - a.qpsPerDollar,
  );
}

function isBest(candidate: JudgedConfig, { best }: PlanFindings): boolean {
  return best !== null && sameConfig(candidate.config, best.config);
}

/** The cost at both ends of the capacity; absent when the load does not explain the replicas that were counted. */
function costInterval(
  { capacityQps, replicasNeeded, dollarsPerMonth }: JudgedConfig,
  { load }: PlanFindings,
): { low?: number; high?: number } {
  const replicas = (qps: number): number =>
    Math.ceil((load.qps * load.peakFactor) / qps - 1e-9) + load.spareReplicas;
  if (replicas(capacityQps.value) !== replicasNeeded || !(capacityQps.low > 0)) return {};
  const each = dollarsPerMonth / replicasNeeded;
  return { low: replicas(capacityQps.high) * each, high: replicas(capacityQps.low) * each };
}

/** The SLO term that the charts show: TTFT if there is one, else the first latency. */
function latencyTerm(candidates: readonly JudgedConfig[]): string | null {
  const terms = (candidates[0]?.slo ?? [])
    .map((s) => s.term)
    .filter((t) => sloFormat(t) === "seconds");
  return terms.find((t) => /ttft/i.test(t)) ?? terms[0] ?? null;
}

function spread(points: readonly { readonly y: number }[]): number {
  const values = points.map((p) => p.y).filter((v) => v > 0);
  return values.length === 0
    ? 1
    : values.reduce((m, v) => Math.max(m, v)) / values.reduce((m, v) => Math.min(m, v));
}
