/** The answer of a plan in one sentence, and the figures that carry it. */
import type { KeyFigure, Verdict } from "../document.ts";
import { writeInterval, writeNumber, writeRound } from "../format.ts";
import { sloFormat, sloName } from "../slo.ts";
import type { JudgedConfig, PlanFindings } from "./input.ts";
import {
  configName,
  fleetName,
  hardwareName,
  sameConfig,
  setupName,
  stepTimesOff,
} from "./names.ts";

/** What to rent and what it costs; or that nothing meets the SLO, and what comes nearest. */
export function planVerdict(result: PlanFindings): Verdict {
  const { best, current, nearestMiss } = result;
  if (best === null)
    return {
      tone: "bad",
      headline: "No configuration of the space meets the SLO.",
      detail:
        nearestMiss === null
          ? "Every configuration was ruled out; the reasons are below."
          : `Nearest miss: ${configName(nearestMiss.config)} — ${nearestMiss.reason}`,
      figures: [
        { label: "Configurations judged", value: writeNumber(result.judged, "whole") },
        { label: "Ruled out", value: writeNumber(result.rejected.length, "whole") },
      ],
    };
  const saving = current === null ? null : 1 - best.dollarsPerHour / current.dollarsPerHour;
  return {
    tone: best.slo.every((s) => s.met) ? "good" : "warning",
    headline: `Run ${fleetName(best)} on ${hardwareName(best.config)} for ${writeNumber(best.dollarsPerMonth, "dollars")} a month${comparison(saving, result)}.`,
    detail: `Set up as ${setupName(best.config)}. ${sure(result)}`,
    figures: figures(best, saving, result.robust),
  };
}

function comparison(saving: number | null, { best, current }: PlanFindings): string {
  if (saving === null || best === null || current === null || !Number.isFinite(saving)) return "";
  if (sameConfig(best.config, current.config) && best.gpus === current.gpus)
    return ", which is what you run today";
  if (Math.abs(saving) < 0.005) return ", about what you pay today";
  return `, ${writeNumber(Math.abs(saving), "percent")} ${saving > 0 ? "less" : "more"} than today`;
}

function sure({ robust }: PlanFindings): string {
  const error = `step times were ${stepTimesOff(robust.errorPercent)}`;
  if (robust.sameWinner) return `The choice would be the same if ${error}.`;
  return robust.rivals.length === 0
    ? `The choice could change if ${error}.`
    : `If ${error}, the choice could change to ${robust.rivals.slice(0, 2).join(" or ")}.`;
}

function figures(
  best: JudgedConfig,
  saving: number | null,
  { capacityQps, errorPercent }: PlanFindings["robust"],
): KeyFigure[] {
  const found: KeyFigure[] = [
    {
      label: "Cost",
      value: writeNumber(best.dollarsPerMonth, "dollars"),
      unit: "/ month",
      note: `${writeNumber(best.dollarsPerHour, "dollars")} an hour`,
    },
  ];
  if (saving !== null && Number.isFinite(saving))
    found.push({
      label: "Against today",
      value: `${saving > 0 ? "−" : "+"}${writeNumber(Math.abs(saving), "percent")}`,
      tone: saving > 0 ? "good" : "neutral",
    });
  found.push(
    {
      label: "GPUs",
      value: writeNumber(best.gpus, "whole"),
      note: fleetName(best),
    },
    {
      label: "Capacity of a replica",
      value: writeNumber(best.capacityQps.value),
      unit: "QPS",
      // Of the two intervals the one that says more: that of the search is chance alone.
      note:
        capacityQps === null
          ? writeInterval(best.capacityQps.low, best.capacityQps.high)
          : `${writeInterval(capacityQps.low, capacityQps.high)} if step times are ${stepTimesOff(errorPercent)}`,
    },
    {
      label: "A million tokens",
      value: writeNumber(best.dollarsPerMillionTokens, "dollars"),
    },
    ...best.slo.slice(0, 3).map((check): KeyFigure => {
      const format = sloFormat(check.term);
      return {
        label: sloName(check.term),
        value: writeNumber(check.value, format),
        note: `${check.met ? "✓" : "✗"} limit ${writeRound(check.limit, format)}`,
        tone: check.met ? "neutral" : "bad",
      };
    }),
  );
  return found;
}
