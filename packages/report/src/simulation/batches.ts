/** What ran: batches over time, memory and queue, and the stages of the pipeline. */
import { batchCompositionChart } from "../charts/batch-composition.ts";
import { stageGantt } from "../charts/stage-gantt.ts";
import { timelineChart } from "../charts/timeline.ts";
import type { Block, Section } from "../document.ts";
import { writeNumber } from "../format.ts";
import type { BatchColumns, SimulationRun } from "./input.ts";

/** Composition of batches, KV use and queue over time; null without a timeline. */
export function batchSection({ timeline, summary }: SimulationRun): Section | null {
  if (timeline === null || timeline.count === 0) return null;
  const band = "The line is the mean of each slice of time, the band its lowest and highest batch.";
  return {
    id: "batches",
    heading: "Batches, memory and queue",
    short: "Batches",
    blocks: [
      { kind: "prose", text: mixSentence(timeline, summary.batch) },
      {
        kind: "charts",
        columns: 1,
        charts: [
          {
            title: "What batches are made of",
            svg: batchCompositionChart(timeline),
            caption: band,
          },
          { title: "Memory and queue of a replica", svg: memoryChart(timeline), caption: band },
        ],
      },
    ],
  };
}

/** Busy share of each stage and a look at a few batches; null when neither is known. */
export function pipelineSection({ timeline, summary }: SimulationRun): Section | null {
  const { stageBusy, bubbles } = summary.utilization;
  if (stageBusy.length === 0) return null;
  const blocks: Block[] = [
    {
      kind: "table",
      columns: [
        { header: "Stage", kind: "text" },
        { header: "Busy", kind: "number", format: "percent", bar: 1 },
      ],
      rows: stageBusy.map((busy, i) => ({ cells: [`stage ${i}`, busy] })),
      note: `While a replica had work, its stages idled ${writeNumber(bubbles, "percent")} of the time.`,
    },
  ];
  if (timeline !== null && timeline.count > 0)
    blocks.push({
      kind: "charts",
      columns: 1,
      charts: [
        {
          title: "A few batches from the middle of the run",
          svg: stageGantt({
            title: "Stages of the pipeline over a few batches",
            description: "One lane per stage; gaps between boxes are idle time.",
            timeline,
          }),
        },
      ],
    });
  return {
    id: "pipeline",
    heading: stageBusy.length > 1 ? "Pipeline stages" : "The device",
    short: stageBusy.length > 1 ? "Pipeline" : "Device",
    blocks,
  };
}

function memoryChart(timeline: BatchColumns): string {
  return timelineChart({
    title: "KV cache and queue over time",
    description: "Share of the KV cache in use, and requests waiting, of each replica.",
    count: timeline.count,
    startsAt: timeline.startsAt,
    endsAt: timeline.endsAt,
    panels: [
      {
        name: "kv",
        heading: "KV cache in use",
        values: timeline.kvUsedShare,
        format: "percent",
        max: 1,
      },
      { name: "queue", heading: "Requests waiting", values: timeline.waiting },
    ],
  });
}

function mixSentence(
  timeline: BatchColumns,
  batch: { meanRows: number; meanTokens: number },
): string {
  let mixed = 0;
  let prefill = 0;
  let all = 0;
  for (let b = 0; b < timeline.count; b++) {
    const seconds = (timeline.endsAt[b] ?? 0) - (timeline.startsAt[b] ?? 0);
    all += seconds;
    if ((timeline.prefillTokens[b] ?? 0) === 0) continue;
    if ((timeline.decodeRows[b] ?? 0) > 0) mixed += seconds;
    else prefill += seconds;
  }
  const share = (seconds: number): string => writeNumber(all > 0 ? seconds / all : 0, "percent");
  return `A batch holds ${writeNumber(batch.meanRows)} requests and ${writeNumber(batch.meanTokens)} tokens on average. Of the time in batches, ${share(mixed)} mixed prefill with decodes, ${share(prefill)} was prefill alone and ${share(all - mixed - prefill)} decodes alone.`;
}
