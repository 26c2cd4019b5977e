/** Horizontal bars with interval whiskers: a short ranking. */
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
import { role, slotColour } from "./palette.ts";

export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
  /** The bar that the text is about. */
  readonly emphasis?: boolean;
}

export interface BarChart extends ChartFrame {
  readonly bars: readonly Bar[];
  readonly format: NumberFormat;
  readonly xLabel?: string;
  /** Bars drawn, in the order given; default 20. */
  readonly limit?: number;
}

interface Line extends Bar {
  readonly key: string;
}

/** Draws the first bars of a ranking from 0, each with its value and, where given, the interval around it. */
export function barChart(chart: BarChart): string {
  const frame = { ...chart, width: chart.width ?? FULL_WIDTH };
  const usable = chart.bars.filter((b) => Number.isFinite(b.value)).slice(0, chart.limit ?? 20);
  if (usable.length === 0) return emptyChart(frame, "nothing to compare");
  const chars = frame.width > 600 ? 52 : 26;
  const lines: Line[] = usable.map((b, i) => ({ ...b, key: String(i) }));
  const labels = new Map(lines.map((l) => [l.key, chartLabel(l.label, chars)]));
  const values = lines.flatMap((l) => [0, l.value, l.high ?? l.value, l.low ?? l.value]);
  const domain = domainOf(extent(values) ?? [0, 1]);
  const whiskers = lines.filter((l) => isInterval(l));
  const margin = Math.max(...lines.map((l) => labelWidth(labels.get(l.key) ?? ""))) + 14;
  const marks: Plot.Markish[] = [
    ...axisX(
      domain,
      { label: chart.xLabel ?? "", format: chart.format },
      frame.width > 600 ? 6 : 4,
    ),
    // Bars are translucent; the grid must not shine through.
    Plot.barX(lines, { y: "key", x: "value", fill: role("surface"), rx: 2 }),
    Plot.barX(lines, {
      y: "key",
      x: "value",
      fill: slotColour(0),
      fillOpacity: (l: Line) => (l.emphasis === true ? 1 : 0.4),
      rx: 2,
    }),
    Plot.ruleY(whiskers, {
      y: "key",
      x1: "low",
      x2: "high",
      stroke: role("ink"),
      strokeWidth: 1.2,
    }),
    Plot.tickX(whiskers, { y: "key", x: "low", stroke: role("ink"), inset: 5 }),
    Plot.tickX(whiskers, { y: "key", x: "high", stroke: role("ink"), inset: 5 }),
    Plot.text(lines, {
      y: "key",
      x: (l: Line) => Math.max(l.value, l.high ?? l.value),
      text: (l: Line) => writeNumber(l.value, chart.format),
      textAnchor: "start",
      dx: 8,
      fill: role("ink"),
      fontVariant: "tabular-nums",
    }),
    Plot.axisY({
      tickSize: 0,
      tickPadding: 8,
      tickFormat: (key: string) => labels.get(key) ?? "",
      label: null,
      fill: role("ink"),
    }),
  ];
  const panel = {
    height: lines.length * 26 + 50,
    plot: {
      marginLeft: Math.min(margin, frame.width * 0.5),
      marginRight: 76,
      marginTop: 6,
      marginBottom: 44,
      x: scaleOf(domain),
      y: { type: "band" as const, domain: lines.map((l) => l.key), padding: 0.28, axis: null },
      marks,
    },
  };
  return drawChart(frame, [panel]);
}

function isInterval(bar: Bar): boolean {
  return (
    bar.low !== undefined &&
    bar.high !== undefined &&
    Number.isFinite(bar.low) &&
    Number.isFinite(bar.high) &&
    bar.high > bar.low
  );
}
