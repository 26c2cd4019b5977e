/** The files of a plan. Each appears complete or not at all. */
import { join } from "node:path";
import { escapeCsv } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import type { PlanResult } from "@millrace/sim";
import { version } from "../program/version.ts";

/** Where a plan came from, for the report. */
export interface Provenance {
  readonly command: string;
  readonly configText: string;
}

/** Writes plan.json, candidates.csv and report.html; returns their paths. Throws OUTPUT_UNWRITABLE. */
export async function writePlan(
  folder: string,
  result: PlanResult,
  provenance: Provenance,
): Promise<readonly string[]> {
  const { planReport, renderReport } = await import("@millrace/report");
  const html = renderReport(planReport({ result, context: { ...provenance, version } }));
  const files = {
    "plan.json": `${JSON.stringify(result, null, 2)}\n`,
    "candidates.csv": candidatesCsv(result),
    "report.html": html,
  };
  return Object.entries(files).map(([name, text]) => {
    const path = join(folder, name);
    writeFileAtomic(path, text);
    return path;
  });
}

/** One row per judged candidate, all numbers in full precision. */
function candidatesCsv({ candidates, pareto }: PlanResult): string {
  const rows = candidates.map((candidate, index) => ({
    ...candidate.config,
    capacity_qps: candidate.capacityQps.value,
    capacity_low: candidate.capacityQps.low,
    capacity_high: candidate.capacityQps.high,
    replicas: candidate.replicasNeeded,
    gpus: candidate.gpus,
    dollars_per_hour: candidate.dollarsPerHour,
    dollars_per_million_tokens: candidate.dollarsPerMillionTokens,
    qps_per_dollar: candidate.qpsPerDollar,
    pareto: pareto.includes(index) ? 1 : 0,
    stage: candidate.stage,
    bottleneck: candidate.bottleneck,
    ...Object.fromEntries(candidate.slo.map((check) => [check.term, check.value])),
  }));
  const header = Object.keys(rows[0] ?? {});
  const lines = rows.map((row) => {
    const cells = new Map(Object.entries(row));
    return header.map((name) => escapeCsv(String(cells.get(name) ?? ""))).join(",");
  });
  return `${[header.map(escapeCsv).join(","), ...lines].join("\n")}\n`;
}
