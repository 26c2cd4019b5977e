/** Curves over a number, with intervals where known: a paper's figure or ours. */
import * as Plot from "@observablehq/plot";
import { type AxisSpec, axisX, axisY, domainOf, extent, scaleOf } from "./axes.ts";
import { type ChartFrame, drawChart, emptyChart, HALF_WIDTH, type LegendItem } from "./canvas.ts";
import { decimateLine } from "./decimate.ts";
import { assignColours, role } from "./palette.ts";

export interface CurvePoint {
  readonly x: number;
  readonly y: number;
  readonly low?: number;
  readonly high?: number;
}

export interface Curve {
  readonly name: string;
  readonly points: readonly CurvePoint[];
  /** Single measurements: dots without a line between them. */
  readonly dots?: boolean;
}

export interface LineChart extends ChartFrame {
  readonly series: readonly Curve[];
  readonly x: AxisSpec;
  readonly y: AxisSpec;
  /** Ends of the axes, so that two charts can share them; absent = from the data. */
  readonly domain?: {
    readonly x: readonly [number, number];
    readonly y: readonly [number, number];
  };
}

/** Ends of the axes that hold all of `series`; y starts at 0 unless logarithmic. Null when nothing can be drawn. */
export function lineDomain(
  series: readonly Curve[],
  x: AxisSpec,
  y: AxisSpec,
): { x: [number, number]; y: [number, number] } | null {
  const points = series.flatMap((s) => s.points);
  const xs = extent(
    points.map((p) => p.x),
    x.log,
  );
  const ys = extent(
    points.flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]),
    y.log,
  );
  if (xs === null || ys === null) return null;
  const bottom = y.log === true ? ys[0] : Math.min(0, ys[0]);
  return { x: domainOf(xs, x.log), y: domainOf([bottom, ys[1]], y.log) };
}

/** Dots of a series drawn at most: beyond that an even choice of them. */
const MOST_DOTS = 2000;

/** Draws one line per series with dots when there are few points, and bands where intervals are given. */
export function lineChart(chart: LineChart): string {
  const frame = { ...chart, width: chart.width ?? HALF_WIDTH };
  const domain = chart.domain ?? lineDomain(chart.series, chart.x, chart.y);
  if (domain === null) return emptyChart(frame, "no points");
  const colours = assignColours(chart.series.map((s) => s.name));
  const marks: Plot.Markish[] = [
    ...axisX(domain.x, chart.x, frame.width > 600 ? 8 : 5),
    ...axisY(domain.y, chart.y, 5),
    ...chart.series.map((s) => curveMarks(s, chart, colours.get(s.name) ?? role("ink"))),
  ];
  const legend: LegendItem[] = chart.series.map((s) => ({
    label: s.name,
    colour: colours.get(s.name) ?? "",
    shape: s.dots === true ? "dot" : "line",
  }));
  const panel = {
    height: 270,
    plot: {
      marginLeft: 56,
      marginRight: 18,
      marginTop: 26,
      marginBottom: 44,
      x: scaleOf(domain.x, chart.x.log),
      y: scaleOf(domain.y, chart.y.log),
      marks,
    },
  };
  return drawChart(frame, [panel], legend);
}

function curveMarks(series: Curve, chart: LineChart, colour: string): Plot.Markish[] {
  const usable = series.points
    .filter((p) => (chart.x.log !== true || p.x > 0) && (chart.y.log !== true || p.y > 0))
    .sort((a, b) => a.x - b.x);
  if (series.dots === true) {
    const every = Math.ceil(usable.length / MOST_DOTS);
    const shown = usable.filter((_, i) => i % every === 0);
    return [Plot.dot(shown, { x: "x", y: "y", r: 2.8, fill: colour, fillOpacity: 0.7 })];
  }
  const across = usable.map((p) => (chart.x.log === true ? Math.log(p.x) : p.x));
  const kept = decimateLine(
    across,
    usable.map((p) => p.y),
    Math.ceil(Math.min(200, 800 / chart.series.length)),
  ).flatMap((i) => usable[i] ?? []);
  const banded = kept.filter((p) => (p.high ?? p.y) > (p.low ?? p.y));
  return [
    ...(banded.length > 1
      ? [Plot.areaY(banded, { x: "x", y1: "low", y2: "high", fill: colour, fillOpacity: 0.16 })]
      : []),
    Plot.line(kept, { x: "x", y: "y", stroke: colour, strokeWidth: 2 }),
    ...(kept.length <= 24 ? [Plot.dot(kept, { x: "x", y: "y", r: 3.2, fill: colour })] : []),
  ];
}
