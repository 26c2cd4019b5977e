/** The report of a deployment plan: the answer first, then why, then everything that was looked at. */
import { commandOf, configBlocks, madeWith, type ReportContext, shortModel } from "../context.ts";
import type { Block, ReportDocument, Section } from "../document.ts";
import { writeNumber, writeRound } from "../format.ts";
import { candidateSection, tradeoffSection } from "./candidates.ts";
import { confidenceSection } from "./confidence.ts";
import type { PlanFindings } from "./input.ts";
import { rejectedSection } from "./rejected.ts";
import { planVerdict } from "./verdict.ts";
import { todaySection, winnerSection } from "./winner.ts";

/** Result of a search and where it came from. */
export interface PlanReportInput {
  readonly result: PlanFindings;
  readonly context?: ReportContext;
}

/** Writes the document; sections that have nothing to say are left out. */
export function planReport({ result, context = {} }: PlanReportInput): ReportDocument {
  const { load } = result;
  const peak = load.peakFactor === 1 ? "" : `, peaks of ${writeRound(load.peakFactor)}×`;
  const spare = load.spareReplicas === 0 ? "" : `, ${load.spareReplicas} spare`;
  const sections = [
    winnerSection(result),
    todaySection(result),
    candidateSection(result),
    tradeoffSection(result),
    confidenceSection(result),
    launchSection(result),
    rejectedSection(result),
    methodSection(result, context),
  ];
  return {
    kind: "Deployment plan",
    title: `How to serve ${shortModel(result.model)}`,
    subtitle: `${result.workload}, ${writeRound(load.qps)} requests per second${peak}${spare}. SLO: ${result.slo.join(", ") || "none"}.`,
    ...commandOf(context),
    madeWith: madeWith(context, [
      { label: "model", value: result.model },
      { label: "seed", value: String(result.seed) },
      { label: "simulations", value: writeNumber(result.simulations, "whole") },
    ]),
    verdict: planVerdict(result),
    sections: sections.filter((s): s is Section => s !== null),
    data: result,
  };
}

function launchSection({ launch }: PlanFindings): Section | null {
  if (launch.length === 0) return null;
  const blocks: Block[] = launch.map((l) => ({ kind: "code", label: l.target, text: l.command }));
  return { id: "launch", heading: "Launch it", blocks };
}

function methodSection(result: PlanFindings, context: ReportContext): Section {
  return {
    id: "method",
    heading: "How this was found",
    short: "Method",
    blocks: [
      {
        kind: "prose",
        text: "Every configuration that fits the memory was simulated under the workload, request by request. Its capacity is the highest load at which the SLO is met. Screening runs at least 1,000 requests per load; finalists are confirmed on longer runs with several seeds, which give the intervals.",
      },
      {
        kind: "facts",
        facts: [
          { label: "Configurations judged", value: writeNumber(result.judged, "whole") },
          { label: "Ruled out without a run", value: writeNumber(result.pruned, "whole") },
          { label: "Simulations", value: writeNumber(result.simulations, "whole") },
          { label: "Requests simulated", value: writeNumber(result.simulatedRequests, "count") },
          { label: "GPU hours simulated", value: writeNumber(result.simulatedGpuHours) },
          { label: "Time it took", value: writeNumber(result.elapsedMs / 1e3, "seconds") },
          { label: "Seed", value: String(result.seed) },
        ],
      },
      ...configBlocks(context),
    ],
  };
}
