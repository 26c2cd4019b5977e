/** Why the winner won, and what changes against what runs today. */
import type { Cell, Row, Section } from "../document.ts";
import { writeNumber } from "../format.ts";
import { sloFormat, sloName, sloSentence, sloTable } from "../slo.ts";
import type { JudgedConfig, PlanFindings } from "./input.ts";
import { configName, hardwareName, sameConfig, setupName } from "./names.ts";

/** The reasons, then the SLO term by term; null without a winner. */
export function winnerSection(result: PlanFindings): Section | null {
  const { best } = result;
  if (best === null) return null;
  const reasons = [
    best.slo.length > 0 && best.slo.every((s) => s.met)
      ? "It meets the SLO at the load that each replica would carry."
      : "",
    rivalReason(best, result.candidates),
    best.bottleneck === "" ? "" : `What limits it: ${best.bottleneck}.`,
    `Its figures were ${best.stage} on ${writeNumber(best.requestsSimulated, "whole")} simulated requests.`,
  ];
  return {
    id: "winner",
    heading: "Why this one",
    blocks: [
      { kind: "list", items: reasons.filter((r) => r !== "") },
      ...(best.slo.length === 0 ? [] : [sloTable(best.slo, "SLO at the load of one replica")]),
    ],
  };
}

/** Today beside the winner; null when what runs today was not given. */
export function todaySection({ best, current }: PlanFindings): Section | null {
  if (current === null) return null;
  const broken = current.slo.filter((s) => !s.met);
  const rows: Row[] = [
    {
      cells: [
        "Hardware",
        hardwareName(current.config),
        best ? hardwareName(best.config) : null,
        null,
      ],
    },
    { cells: ["Set-up", setupName(current.config), best ? setupName(best.config) : null, null] },
    ...measures.map(({ label, of, format }) => ({
      cells: [
        label,
        writeNumber(of(current), format),
        best ? writeNumber(of(best), format) : null,
        best ? change(of(current), of(best)) : null,
      ],
    })),
    ...current.slo.map((check): Row => {
      const other = best?.slo.find((s) => s.term === check.term);
      const cell = (c: typeof check): Cell => ({
        value: writeNumber(c.value, sloFormat(c.term)),
        met: c.met,
      });
      return {
        cells: [
          sloName(check.term),
          cell(check),
          other ? cell(other) : null,
          other ? change(check.value, other.value) : null,
        ],
      };
    }),
  ];
  return {
    id: "today",
    heading: "Against what you run today",
    short: "Against today",
    blocks: [
      ...(broken.length === 0
        ? []
        : [
            {
              kind: "callout" as const,
              tone: "bad" as const,
              title: "What you run today misses the SLO",
              items: broken.map(sloSentence),
            },
          ]),
      {
        kind: "table",
        columns: [
          { header: "", kind: "text" },
          { header: "Today", kind: "text" },
          { header: "Winner", kind: "text" },
          { header: "Change", kind: "number" },
        ],
        rows,
        note: "Both were judged by the same rules, on the same workload, with the same seeds.",
      },
    ],
  };
}

const measures = [
  { label: "Cost a month", of: (j: JudgedConfig) => j.dollarsPerMonth, format: "dollars" },
  {
    label: "Cost of a million tokens",
    of: (j: JudgedConfig) => j.dollarsPerMillionTokens,
    format: "dollars",
  },
  { label: "GPUs", of: (j: JudgedConfig) => j.gpus, format: "whole" },
  { label: "Replicas", of: (j: JudgedConfig) => j.replicasNeeded, format: "whole" },
  {
    label: "Capacity of a replica, QPS",
    of: (j: JudgedConfig) => j.capacityQps.value,
    format: "number",
  },
] as const;

function change(from: number, to: number): string | null {
  const share = to / from - 1;
  if (!Number.isFinite(share)) return null;
  if (Math.abs(share) < 0.0005) return "same";
  return `${share > 0 ? "+" : "−"}${writeNumber(Math.abs(share), "percent")}`;
}

function rivalReason(best: JudgedConfig, candidates: readonly JudgedConfig[]): string {
  let rival: JudgedConfig | undefined;
  for (const c of candidates) {
    if (sameConfig(c.config, best.config) || !c.slo.every((s) => s.met)) continue;
    if (rival === undefined || c.dollarsPerHour < rival.dollarsPerHour) rival = c;
  }
  if (rival === undefined) return "No other configuration meets the SLO.";
  const more = rival.dollarsPerMonth - best.dollarsPerMonth;
  if (more < best.dollarsPerMonth * 0.0005)
    return `It costs as much as ${configName(rival.config)}, the next in the ranking, and serves more requests per dollar.`;
  return `The next cheapest, ${configName(rival.config)}, costs ${writeNumber(more, "dollars")} a month more (+${writeNumber(more / best.dollarsPerMonth, "percent")}).`;
}
