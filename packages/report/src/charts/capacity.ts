/** Capacity under an SLO by scheduler: the paper's figure beside ours. */
import * as Plot from "@observablehq/plot";
import { type NumberFormat, writeNumber } from "../format.ts";
import { axisX, domainOf, extent, scaleOf } from "./axes.ts";
import {
  type ChartFrame,
  chartLabel,
  drawChart,
  emptyChart,
  FULL_WIDTH,
  labelWidth,
} from "./canvas.ts";
import { assignColours, role } from "./palette.ts";

/** A value, with an interval where it is known. */
export interface Estimate {
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

export interface CapacityRow {
  /** Scheduler, or scheduler and setting. */
  readonly label: string;
  readonly paper: Estimate | null;
  readonly ours: Estimate | null;
}

export interface CapacityChart extends ChartFrame {
  readonly rows: readonly CapacityRow[];
  readonly format?: NumberFormat;
  readonly xLabel?: string;
  /** Names of the two series; default "paper" and "ours". */
  readonly names?: { readonly paper: string; readonly ours: string };
}

interface Line extends Estimate {
  readonly row: string;
  readonly series: "paper" | "ours";
}

/** Draws a pair of bars per row, the paper's in grey, with whiskers where there is an interval. */
export function capacityChart(chart: CapacityChart): string {
  const frame = { ...chart, width: chart.width ?? FULL_WIDTH };
  const rows = chart.rows.slice(0, 24);
  const lines: Line[] = rows.flatMap((r, i) =>
    (["paper", "ours"] as const).flatMap((series) => {
      const estimate = r[series];
      return estimate !== null && Number.isFinite(estimate.value)
        ? [{ ...estimate, series, row: String(i) }]
        : [];
    }),
  );
  if (lines.length === 0) return emptyChart(frame, "nothing measured");
  const labels = new Map(rows.map((r, i) => [String(i), chartLabel(r.label, 36)]));
  const domain = domainOf(extent(lines.flatMap((l) => [0, l.value, l.high ?? l.value])) ?? [0, 1]);
  const colours = assignColours(["paper", "ours"]);
  const margin = Math.max(...[...labels.values()].map(labelWidth)) + 14;
  const whiskers = lines.filter((l) => (l.high ?? l.value) > (l.low ?? l.value));
  const marks: Plot.Markish[] = [
    ...axisX(
      domain,
      { label: chart.xLabel ?? "", ...(chart.format ? { format: chart.format } : {}) },
      frame.width > 600 ? 6 : 4,
    ),
    ...(["paper", "ours"] as const).map((series) =>
      Plot.barX(
        lines.filter((l) => l.series === series),
        {
          fy: "row",
          y: "series",
          x: "value",
          fill: colours.get(series) ?? role("ink"),
          fillOpacity: series === "paper" ? 0.5 : 0.85,
          rx: 2,
        },
      ),
    ),
    Plot.ruleY(whiskers, {
      fy: "row",
      y: "series",
      x1: "low",
      x2: "high",
      stroke: role("ink"),
      strokeWidth: 1.2,
    }),
    Plot.text(lines, {
      fy: "row",
      y: "series",
      x: (l: Line) => Math.max(l.value, l.high ?? l.value),
      text: (l: Line) => writeNumber(l.value, chart.format),
      textAnchor: "start",
      dx: 8,
      fill: role("ink"),
      fontVariant: "tabular-nums",
    }),
    Plot.axisFy({
      anchor: "left",
      tickSize: 0,
      tickPadding: 8,
      textAnchor: "end",
      tickFormat: (key: string) => labels.get(key) ?? "",
      label: null,
      fill: role("ink"),
    }),
  ];
  const panel = {
    height: rows.length * 46 + 50,
    plot: {
      marginLeft: Math.min(margin, frame.width * 0.45),
      marginRight: 70,
      marginTop: 4,
      marginBottom: 44,
      x: scaleOf(domain),
      y: { type: "band" as const, domain: ["paper", "ours"], axis: null, padding: 0.12 },
      fy: { domain: [...labels.keys()], padding: 0.18, axis: null },
      marks,
    },
  };
  const names = chart.names ?? { paper: "paper", ours: "ours" };
  return drawChart(
    frame,
    [panel],
    [
      { label: names.paper, colour: colours.get("paper") ?? "", shape: "square" },
      { label: names.ours, colour: colours.get("ours") ?? "", shape: "square" },
    ],
  );
}
