/** The report of a reproduced paper: each claim beside our figure, and its charts beside ours. */
import { type SideBySide, sideBySide } from "@millrace/core";
import { agreementChart } from "../charts/agreement.ts";
import type { AxisSpec } from "../charts/axes.ts";
import { type CapacityRow, capacityChart } from "../charts/capacity.ts";
import { type Curve, lineChart, lineDomain } from "../charts/line.ts";
import { commandOf, configBlocks, madeWith, type ReportContext } from "../context.ts";
import type { Block, ReportDocument, Row, Section, Verdict } from "../document.ts";
import { type NumberFormat, writeNumber } from "../format.ts";

/** A claim of the paper and what we found, in one unit (`millrace.reproduce/1`). */
export interface ReproducedClaim {
  readonly claim: string;
  /** Null where the paper gives no figure. */
  readonly theirs: number | null;
  readonly ours: number;
  readonly low: number;
  readonly high: number;
  readonly kind: "simulated" | "measured";
  readonly n: number;
  readonly seed: number;
  readonly unit?: string;
  /** What a simulated and a measured row of the same thing stand side by side under. */
  readonly beside?: string;
}

/** A figure of the paper and ours: bars by scheduler, or curves that share their axes. */
export type ReproducedFigure =
  | {
      readonly kind: "capacity";
      readonly title: string;
      readonly rows: readonly CapacityRow[];
      readonly format?: NumberFormat;
      readonly xLabel?: string;
      readonly caption?: string;
    }
  | {
      readonly kind: "curves";
      readonly title: string;
      readonly x: AxisSpec;
      readonly y: AxisSpec;
      readonly theirs: readonly Curve[];
      readonly ours: readonly Curve[];
      readonly caption?: string;
    };

/** Result of a reproduction and where it came from. */
export interface ReproduceReportInput {
  readonly result: { readonly paper: string; readonly rows: readonly ReproducedClaim[] };
  readonly figures?: readonly ReproducedFigure[];
  /** What differs from the paper's set-up, and why. */
  readonly differences?: readonly string[];
  readonly context?: ReportContext;
}

/** Deviation from the paper up to which a claim counts as reproduced, unless its interval holds the figure. */
const CLOSE = 0.1;

/** Writes the document. */
export function reproduceReport(input: ReproduceReportInput): ReportDocument {
  const { result, figures = [], differences = [], context = {} } = input;
  const seeds = [...new Set(result.rows.map((r) => r.seed))];
  const details = configBlocks(context);
  const pairs = sideBySide(result.rows);
  const paired = new Set(pairs.flatMap(({ predicted, measured }) => [predicted, measured]));
  const sections: Section[] = [
    claimSection(result.rows.filter((row) => !paired.has(row))),
    ...(pairs.length === 0 ? [] : [predictedSection(pairs)]),
    ...(figures.length === 0
      ? []
      : [
          {
            id: "figures",
            heading: "Figures, theirs and ours",
            short: "Figures",
            blocks: figures.map(figureBlock),
          },
        ]),
    ...(differences.length === 0
      ? []
      : [
          {
            id: "differences",
            heading: "What differs",
            blocks: [{ kind: "list" as const, items: differences }],
          },
        ]),
    ...(details.length === 0 ? [] : [{ id: "details", heading: "Details", blocks: details }]),
  ];
  return {
    kind: "Reproduction",
    title: result.paper,
    subtitle: "Published figures beside ours, in the same units.",
    ...commandOf(context),
    madeWith: madeWith(context, [
      { label: seeds.length === 1 ? "seed" : "seeds", value: seeds.join(", ") },
    ]),
    verdict: verdict(result.rows),
    sections,
    data: result,
  };
}

function verdict(rows: readonly ReproducedClaim[]): Verdict {
  const known = rows.filter((r) => r.theirs !== null);
  const agreed = known.filter(agrees).length;
  const tone =
    known.length === 0
      ? "neutral"
      : agreed === known.length
        ? "good"
        : agreed === 0
          ? "bad"
          : "warning";
  return {
    tone,
    headline:
      known.length === 0
        ? "The paper gives no figures to compare with."
        : `${agreed} of ${known.length} published figures ${known.length === 1 ? "is" : "are"} reproduced.`,
    detail: `A figure counts as reproduced when ours is within ${writeNumber(CLOSE, "percent")} of it or our interval holds it.`,
    figures: [
      { label: "Reproduced", value: `${agreed} of ${known.length}` },
      { label: "Simulated", value: String(rows.filter((r) => r.kind === "simulated").length) },
      { label: "Measured", value: String(rows.filter((r) => r.kind === "measured").length) },
    ],
  };
}

function claimSection(rows: readonly ReproducedClaim[]): Section {
  const comparable = rows.flatMap((r) => (r.theirs === null ? [] : [{ ...r, theirs: r.theirs }]));
  const blocks: Block[] = [];
  if (comparable.some((r) => r.theirs > 0 && r.ours > 0))
    blocks.push({
      kind: "charts",
      columns: 1,
      charts: [
        {
          title: "Ours as a multiple of theirs",
          svg: agreementChart({
            title: "Our figures divided by the published ones",
            description: "One line per claim; 1 is agreement, lines are intervals.",
            rows: comparable,
          }),
        },
      ],
    });
  blocks.push({
    kind: "table",
    columns: [
      { header: "Claim", kind: "text" },
      { header: "Theirs", kind: "number" },
      { header: "Ours", kind: "number" },
      { header: "Ours ÷ theirs", kind: "number" },
      { header: "Reproduced", kind: "check" },
      { header: "How", kind: "text" },
      { header: "n", kind: "number", format: "whole" },
      { header: "Seed", kind: "text" },
    ],
    rows: rows.map(claimRow),
  });
  return { id: "claims", heading: "Claim by claim", short: "Claims", blocks };
}

function predictedSection(pairs: readonly SideBySide<ReproducedClaim>[]): Section {
  const interval = ({ ours, low, high }: ReproducedClaim) => ({ value: ours, low, high });
  return {
    id: "predicted",
    heading: "Predicted beside measured",
    short: "Predicted",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "What", kind: "text" },
          { header: "Predicted", kind: "number" },
          { header: "Measured", kind: "number" },
          { header: "Predicted ÷ measured", kind: "number" },
          { header: "n", kind: "number", format: "whole" },
          { header: "Seed", kind: "text" },
        ],
        rows: pairs.map(({ what, predicted, measured }) => ({
          cells: [
            { text: what, note: measured.unit ?? "" },
            interval(predicted),
            interval(measured),
            predicted.ours / measured.ours,
            measured.n,
            String(measured.seed),
          ],
        })),
        note: "Predicted by the simulator from a profile of this machine, measured on the engine with the same requests; where several seeds ran, medians with lowest and highest.",
      },
    ],
  };
}

function claimRow(row: ReproducedClaim): Row {
  return {
    cells: [
      { text: row.claim, note: row.unit ?? "" },
      row.theirs,
      { value: row.ours, low: row.low, high: row.high },
      row.theirs === null ? null : row.ours / row.theirs,
      row.theirs === null ? null : agrees(row),
      row.kind,
      row.n,
      String(row.seed),
    ],
  };
}

function agrees(row: ReproducedClaim): boolean {
  if (row.theirs === null) return false;
  const within = row.low <= row.theirs && row.theirs <= row.high;
  return within || Math.abs(row.ours - row.theirs) <= CLOSE * Math.abs(row.theirs);
}

function figureBlock(figure: ReproducedFigure): Block {
  const caption = figure.caption === undefined ? {} : { caption: figure.caption };
  if (figure.kind === "capacity") {
    const svg = capacityChart({
      title: figure.title,
      rows: figure.rows,
      ...(figure.format === undefined ? {} : { format: figure.format }),
      ...(figure.xLabel === undefined ? {} : { xLabel: figure.xLabel }),
    });
    return { kind: "charts", columns: 1, charts: [{ title: figure.title, svg, ...caption }] };
  }
  const { x, y, theirs, ours } = figure;
  const domain = lineDomain([...theirs, ...ours], x, y);
  const draw = (series: readonly Curve[], whose: string): string =>
    lineChart({
      title: `${figure.title}, ${whose}`,
      series,
      x,
      y,
      ...(domain === null ? {} : { domain }),
    });
  return {
    kind: "charts",
    columns: 2,
    charts: [
      { title: `${figure.title} — paper`, svg: draw(theirs, "as published"), ...caption },
      { title: `${figure.title} — ours`, svg: draw(ours, "ours") },
    ],
  };
}
