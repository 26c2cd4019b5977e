/** How close our figures come to published ones: ours divided by theirs, with intervals, one line per claim. */
import * as Plot from "@observablehq/plot";
import { axisX, domainOf, extent, scaleOf } from "./axes.ts";
import {
  type ChartFrame,
  chartLabel,
  drawChart,
  emptyChart,
  FULL_WIDTH,
  labelWidth,
} from "./canvas.ts";
import { role, slotColour } from "./palette.ts";

/** A claim with both figures in the same unit. */
export interface AgreementRow {
  readonly claim: string;
  readonly theirs: number;
  readonly ours: number;
  readonly low?: number;
  readonly high?: number;
}

export interface AgreementChart extends ChartFrame {
  readonly rows: readonly AgreementRow[];
}

interface Line {
  readonly key: string;
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

/** Draws ours / theirs on a logarithmic axis; 1 is agreement. Rows whose ratio is not a positive number are left out. */
export function agreementChart(chart: AgreementChart): string {
  const frame = { ...chart, width: chart.width ?? FULL_WIDTH };
  const labels = new Map<string, string>();
  const lines: Line[] = [];
  for (const [i, row] of chart.rows.entries()) {
    const ratio = row.ours / row.theirs;
    if (!Number.isFinite(ratio) || ratio <= 0 || lines.length >= 40) continue;
    const ends = [(row.low ?? row.ours) / row.theirs, (row.high ?? row.ours) / row.theirs];
    const [low, high] = ends.every((e) => Number.isFinite(e) && e > 0) ? ends : [ratio, ratio];
    lines.push({ key: String(i), ratio, low: low ?? ratio, high: high ?? ratio });
    labels.set(String(i), chartLabel(row.claim, frame.width > 600 ? 96 : 48));
  }
  if (lines.length === 0) return emptyChart(frame, "no claims with two figures");
  const domain = domainOf(
    extent(
      lines.flatMap((l) => [l.low, l.high, 1 / 1.25, 1.25]),
      true,
    ) ?? [0.5, 2],
    true,
  );
  // Long claims take two lines.
  const widest = Math.max(...[...labels.values()].map(labelWidth));
  const lineEms = frame.width > 600 ? 30 : 15;
  const margin = Math.min(widest, lineEms * 12.5) + 14;
  const marks: Plot.Markish[] = [
    Plot.rect([0], {
      x1: Math.max(domain[0], 0.9),
      x2: Math.min(domain[1], 1 / 0.9),
      fill: role("good"),
      fillOpacity: 0.08,
    }),
    ...axisX(domain, { label: "ours ÷ theirs (band: within 10%)", log: true }, 6),
    Plot.ruleX([1], { stroke: role("good"), strokeWidth: 1.5 }),
    Plot.ruleY(lines, { y: "key", x1: "low", x2: "high", stroke: slotColour(0), strokeWidth: 2 }),
    Plot.dot(lines, { y: "key", x: "ratio", r: 5, fill: slotColour(0) }),
    Plot.axisY({
      tickSize: 0,
      tickPadding: 10,
      lineWidth: lineEms,
      lineHeight: 1.2,
      tickFormat: (k: string) => labels.get(k) ?? "",
      label: null,
      fill: role("ink"),
    }),
  ];
  const panel = {
    height: lines.length * 38 + 52,
    plot: {
      marginLeft: margin,
      marginRight: 24,
      marginTop: 4,
      marginBottom: 44,
      x: scaleOf(domain, true),
      y: { type: "point" as const, domain: lines.map((l) => l.key), padding: 0.6, axis: null },
      marks,
    },
  };
  return drawChart(frame, [panel]);
}
