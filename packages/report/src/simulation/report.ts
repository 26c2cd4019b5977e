/** The report of one simulated run: the SLO first, then latency, batches, pipeline, classes and what to be careful about. */
import { commandOf, configBlocks, madeWith, type ReportContext, shortModel } from "../context.ts";
import type { Block, ReportDocument, Section } from "../document.ts";
import { writeNumber } from "../format.ts";
import { sloTable } from "../slo.ts";
import { batchSection, pipelineSection } from "./batches.ts";
import type { SimulatedDeployment, SimulationRun } from "./input.ts";
import { classSection, latencySection } from "./latency.ts";
import { simulationVerdict } from "./verdict.ts";

/** A run and where it came from. */
export interface SimulationReportInput {
  readonly run: SimulationRun;
  readonly context?: ReportContext;
}

/** Writes the document; sections that have nothing to say are left out. */
export function simulationReport({ run, context = {} }: SimulationReportInput): ReportDocument {
  const { config, summary } = run;
  const sections = [
    sloSection(run),
    latencySection(run),
    batchSection(run),
    pipelineSection(run),
    classSection(run),
    careSection(run),
    detailSection(run, context),
  ];
  return {
    kind: "Simulation",
    title: `${shortModel(config.model.name)} on ${fleet(config)}`,
    subtitle: `${config.scheduler.type}, chunk ${config.scheduler.chunkSize}, batches of up to ${config.scheduler.batchSizeCap}; ${writeNumber(summary.requests, "whole")} requests over ${writeNumber(summary.simulatedSeconds, "seconds")}.`,
    ...commandOf(context),
    madeWith: madeWith(context, [
      { label: "model", value: config.model.name },
      { label: "seed", value: String(summary.seed) },
      { label: "requests", value: writeNumber(summary.requests, "whole") },
      { label: "predictor", value: config.predictor.type },
    ]),
    verdict: simulationVerdict(summary),
    sections: sections.filter((s): s is Section => s !== null),
    data: summary,
  };
}

function fleet(config: SimulatedDeployment): string {
  const replicas = config.replicas === 1 ? "" : `${config.replicas} × `;
  const pipeline = config.pipelineParallel === 1 ? "" : ` PP${config.pipelineParallel}`;
  return `${replicas}${config.device.name} TP${config.tensorParallel}${pipeline}`;
}

function sloSection({ summary }: SimulationRun): Section | null {
  if (summary.slo.length === 0) return null;
  return {
    id: "slo",
    heading: "SLO",
    blocks: [sloTable(summary.slo, "Service level objective, term by term")],
  };
}

function careSection({ summary, config }: SimulationRun): Section | null {
  const blocks: Block[] = [];
  if (summary.flags.unfitted.length > 0)
    blocks.push({
      kind: "callout",
      tone: "warning",
      title: "Terms without fitted coefficients",
      items: summary.flags.unfitted,
    });
  const notes: string[] = [];
  if (summary.flags.extrapolatedSteps > 0)
    notes.push(
      `${writeNumber(summary.flags.extrapolatedSteps, "whole")} of ${writeNumber(summary.batches, "whole")} batches had shapes outside what the predictor has seen (${writeNumber(summary.flags.extrapolatedSteps / summary.batches, "percent")}).`,
    );
  if (summary.unfinished > 0)
    notes.push(
      `${writeNumber(summary.unfinished, "whole")} requests had not finished when the run ended.`,
    );
  if (summary.rejected > 0)
    notes.push(
      `${writeNumber(summary.rejected, "whole")} requests were rejected; latencies leave them out.`,
    );
  if (config.compatibility !== "none")
    notes.push(
      `The run copies the behaviour of \`${config.compatibility}\`, simplifications included.`,
    );
  if (notes.length > 0)
    blocks.push({ kind: "callout", tone: "warning", title: "Read with care", items: notes });
  return blocks.length === 0
    ? null
    : { id: "care", heading: "What to be careful about", short: "Care", blocks };
}

function detailSection({ config, summary }: SimulationRun, context: ReportContext): Section {
  const { kv } = summary;
  return {
    id: "details",
    heading: "Details",
    blocks: [
      {
        kind: "facts",
        facts: [
          {
            label: "Scheduler",
            value: `${config.scheduler.type}, chunk ${config.scheduler.chunkSize}`,
          },
          { label: "Predictor", value: config.predictor.type },
          {
            label: "KV cache",
            value: `${config.kv.type}, ${writeNumber(kv.blocks, "whole")} blocks of ${writeNumber(kv.blockTokens, "whole")} tokens, ${writeNumber(kv.fragmentation, "percent")} fragmentation`,
          },
          ...(kv.mappedPages > 0
            ? [{ label: "Pages mapped", value: writeNumber(kv.mappedPages, "whole") }]
            : []),
          { label: "Batches", value: writeNumber(summary.batches, "whole") },
          { label: "Restarts after preemption", value: writeNumber(summary.restarts, "whole") },
          {
            label: "Deadlines missed (fluidity)",
            value: writeNumber(summary.fluidity.missRate, "percent"),
          },
          { label: "Tokens on time", value: writeNumber(summary.fluidity.onTimeShare, "percent") },
        ],
      },
      ...configBlocks(context),
    ],
  };
}
