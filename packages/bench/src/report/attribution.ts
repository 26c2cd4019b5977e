/** Whose fault stalls were, as a section of the report of a run. */
import {
  type Block,
  barChart,
  lineChart,
  type Section,
  type TableBlock,
  writeNumber,
} from "@millrace/report";
import {
  type AttributionReport,
  type BenchReport,
  type StallCause,
  type StallGroup,
  stallCauses,
} from "../contracts.ts";

/** What each cause means, for people. */
export const causeMeanings: Readonly<Record<StallCause, string>> = {
  scheduling:
    "the server had the request and computed none of it: its queue, steps of others, planning, pages",
  compute: "steps that had the request in them",
  frontend: "the server's process around the engine: reading, tokenizing, text, writing",
  network: "between the two processes",
  client: "this program sent or read late",
};

const BINS = 60;
const SHOWN = 15;

/** Null where the server told no times. */
export function attributionSection({ attribution, throughput }: BenchReport): Section | null {
  if (attribution === null) return null;
  const { first, later, longest, attributedShare, joined, unjoined } = attribution;
  const stalls = first.stalls + later.stalls;
  const blocks: Block[] = [
    {
      kind: "prose",
      text: `${writeNumber(stalls, "whole")} gaps were longer than their target, by ${writeNumber(first.excessSeconds + later.excessSeconds, "seconds")} in all. The server told when it planned, computed and wrote every token of ${writeNumber(joined, "whole")} answers${unjoined > 0 ? ` (of ${writeNumber(unjoined, "whole")} it did not)` : ""}; joined to the times at which tokens were read here, ${writeNumber(attributedShare, "percent")} of the excess has a cause. A cause gets what it took beyond its usual share of the target.`,
    },
    causes(first, later),
  ];
  if (stalls > 0)
    blocks.push({
      kind: "charts",
      columns: 2,
      charts: [
        {
          title: "Excess by cause",
          caption: "first and later tokens together",
          svg: barChart({
            title: "Excess of stalls by cause",
            width: 430,
            bars: stallCauses.map((cause) => ({
              label: cause,
              value:
                first.excessSeconds * first.excessShares[cause] +
                later.excessSeconds * later.excessShares[cause],
            })),
            format: "seconds",
          }),
        },
        {
          title: "Excess over the run",
          caption: `the ${longest.length} longest stalls, per ${writeNumber(throughput.seconds / BINS, "seconds")}`,
          svg: lineChart({
            title: "Excess of the longest stalls over the run, by cause",
            series: stallCauses.map((cause) => ({
              name: cause,
              points: overTime(attribution, cause, throughput.seconds),
            })),
            x: { label: "time", format: "seconds" },
            y: { label: "excess", format: "seconds" },
          }),
        },
      ],
    });
  if (longest.length > 0) blocks.push(longestTable(attribution));
  blocks.push({ kind: "note", text: clockText(attribution) });
  return { id: "causes", heading: "Whose fault each stall was", short: "Causes", blocks };
}

function causes(first: StallGroup, later: StallGroup): TableBlock {
  return {
    kind: "table",
    columns: [
      { header: "Cause", kind: "text" },
      { header: "TTFT p50", kind: "number", format: "seconds" },
      { header: "late first tokens", kind: "number", format: "whole" },
      { header: "their excess", kind: "number", format: "percent", bar: 1 },
      { header: "TBT mean", kind: "number", format: "seconds" },
      { header: "stalls between tokens", kind: "number", format: "whole" },
      { header: "their excess", kind: "number", format: "percent", bar: 1 },
    ],
    rows: stallCauses.map((cause) => ({
      cells: [
        { text: cause, note: causeMeanings[cause] },
        first.parts[cause].p50 / 1000,
        first.causes[cause],
        first.excessShares[cause],
        later.parts[cause].mean / 1000,
        later.causes[cause],
        later.excessShares[cause],
      ],
    })),
    note: "TTFT and TBT columns are what each part takes over all tokens, stalled or not.",
  };
}

function longestTable({ longest }: AttributionReport): TableBlock {
  return {
    kind: "table",
    caption: "The longest stalls",
    columns: [
      { header: "Request", kind: "code" },
      { header: "Token", kind: "text" },
      { header: "At", kind: "number", format: "seconds" },
      { header: "Gap", kind: "number", format: "seconds" },
      { header: "Cause", kind: "text" },
      ...stallCauses.map(
        (cause) => ({ header: cause, kind: "number", format: "seconds" }) as const,
      ),
      { header: "Step", kind: "number", format: "whole" },
    ],
    rows: longest.slice(0, SHOWN).map((stall) => ({
      cells: [
        stall.request,
        stall.position === 0 ? "first" : String(stall.position + 1),
        stall.atUs / 1e6,
        stall.gapMs / 1e3,
        stall.cause,
        ...stallCauses.map((cause) => stall.partsMs[cause] / 1e3),
        stall.step,
      ],
    })),
    note: "Steps are numbered as in the server's timing log.",
  };
}

function overTime(
  { longest }: AttributionReport,
  cause: StallCause,
  seconds: number,
): { x: number; y: number }[] {
  const bins = new Float64Array(BINS);
  for (const stall of longest) {
    if (stall.cause !== cause) continue;
    const bin = Math.min(BINS - 1, Math.max(0, Math.floor((stall.atUs / 1e6 / seconds) * BINS)));
    bins[bin] = (bins[bin] as number) + stall.excessMs / 1e3;
  }
  return Array.from(bins, (y, i) => ({ x: ((i + 0.5) / BINS) * seconds, y }));
}

/** How well the clocks are known, one sentence each. */
export function clockText({ clocks, remarks }: AttributionReport): string {
  const sentences = clocks.map(
    ({ offsetUs, uncertaintyUs, driftPpm, driftRangePpm: [low, high], requests }) =>
      `The server's clock is ${writeNumber(Math.abs(offsetUs) / 1e6, "seconds")} ${offsetUs < 0 ? "behind" : "ahead of"} this host's, known within ${writeNumber(uncertaintyUs / 1e6, "seconds")} from ${writeNumber(requests, "whole")} requests; drift ${driftPpm === 0 ? "none that shows" : `${driftPpm.toFixed(1)} ppm`} (between ${low.toFixed(0)} and ${high.toFixed(0)} ppm).`,
  );
  return [...sentences, ...remarks].join(" ");
}
