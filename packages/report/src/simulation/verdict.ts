/** The answer of a run in one sentence, and its key figures. */
import type { KeyFigure, Verdict } from "../document.ts";
import { writeNumber } from "../format.ts";
import { sloSentence } from "../slo.ts";
import type { SimulationFindings } from "./input.ts";

/** Whether the SLO was met; without one, what was served. */
export function simulationVerdict(summary: SimulationFindings): Verdict {
  const missed = summary.slo.filter((s) => !s.met);
  const figures = keyFigures(summary);
  const served = `${writeNumber(summary.completed, "whole")} of ${writeNumber(summary.requests, "whole")} requests were completed, ${writeNumber(summary.throughput.requestsPerSecond)} a second.`;
  if (summary.slo.length === 0)
    return {
      tone: "neutral",
      headline: `It serves ${writeNumber(summary.throughput.requestsPerSecond)} requests a second with a median TTFT of ${writeNumber(summary.ttftMs.p50 / 1e3, "seconds")}.`,
      detail: `${served} No SLO was set; add \`slo\` to the configuration to have one checked.`,
      figures,
    };
  if (missed.length === 0)
    return {
      tone: "good",
      headline:
        summary.slo.length === 1
          ? `The SLO is met: ${summary.slo.map(sloSentence).join("")}.`
          : `The SLO is met in all ${summary.slo.length} terms.`,
      detail: served,
      figures,
    };
  return {
    tone: "bad",
    headline: `The SLO is missed: ${missed.map(sloSentence).join("; ")}.`,
    detail: served,
    figures,
  };
}

function keyFigures(summary: SimulationFindings): KeyFigure[] {
  const latency = (label: string, ms: { p50: number; p90: number; p99: number }): KeyFigure => ({
    label: `${label} p90`,
    value: writeNumber(ms.p90 / 1e3, "seconds"),
    note: `p50 ${writeNumber(ms.p50 / 1e3, "seconds")}, p99 ${writeNumber(ms.p99 / 1e3, "seconds")}`,
  });
  const figures: KeyFigure[] = [
    {
      label: "Throughput",
      value: writeNumber(summary.throughput.requestsPerSecond),
      unit: "requests / s",
      note: `${writeNumber(summary.throughput.outputTokensPerSecond)} output tokens / s`,
    },
    latency("TTFT", summary.ttftMs),
    latency("TBT", summary.tbtMs),
    latency("End-to-end", summary.e2eMs),
  ];
  if (summary.goodput !== null)
    figures.push({
      label: "Goodput",
      value: writeNumber(summary.goodput.requestsPerSecond),
      unit: "requests / s",
      note: `${writeNumber(summary.goodput.share, "percent")} of requests in time`,
    });
  figures.push(
    {
      label: "Fluidity-index",
      value: writeNumber(summary.fluidity.index),
      note: `${writeNumber(summary.fluidity.shareAbove90, "percent")} of requests ≥ 0.9`,
    },
    {
      label: "KV cache in use",
      value: writeNumber(summary.utilization.kvUsed, "percent"),
      note: `MFU ${writeNumber(summary.utilization.mfu, "percent")}`,
    },
    {
      label: "Rows in a batch",
      value: writeNumber(summary.batch.meanRows),
      note: `at most ${writeNumber(summary.batch.maxRows, "whole")}`,
    },
  );
  return figures;
}
