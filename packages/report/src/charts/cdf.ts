/** Cumulative distribution of latencies, with the limit of the SLO. */
import * as Plot from "@observablehq/plot";
import { type NumberFormat, writeRound } from "../format.ts";
import { axisX, domainOf, extent, scaleOf } from "./axes.ts";
import { type ChartFrame, drawChart, emptyChart, HALF_WIDTH, type LegendItem } from "./canvas.ts";
import { decimateLine } from "./decimate.ts";
import { assignColours, role } from "./palette.ts";

/** A distribution: values at evenly spaced probabilities (sorted samples, or quantiles), or points of its own. */
export type CdfSeries = { readonly name: string } & (
  | { readonly quantiles: ArrayLike<number> }
  | { readonly points: readonly { readonly value: number; readonly share: number }[] }
);

/** The limit of an SLO term: "this quantile must not exceed this value". */
export interface CdfLimit {
  readonly value: number;
  /** 0 … 1; drawn as the corner that the curve must pass on the left of. */
  readonly quantile?: number;
  readonly label?: string;
}

export interface CdfChart extends ChartFrame {
  readonly series: readonly CdfSeries[];
  readonly format: NumberFormat;
  readonly limit?: CdfLimit;
  /** Logarithmic values; absent = when the distribution spans more than a factor of 60. */
  readonly log?: boolean;
  readonly xLabel?: string;
}

interface Curve {
  readonly name: string;
  readonly x: Float64Array;
  readonly share: Float64Array;
}

/** Draws the share of samples at or below each value. Samples that are not finite are left out. */
export function cdfChart(chart: CdfChart): string {
  const frame = { ...chart, width: chart.width ?? HALF_WIDTH };
  const curves = chart.series.map(curveOf).filter((c) => c.x.length > 0);
  const all = extent(curves.flatMap((c) => [c.x[0] ?? 0, c.x[c.x.length - 1] ?? 0]));
  if (all === null) return emptyChart(frame, "no samples");
  const log = (chart.log ?? spansDecades(curves)) && all[1] > 0;
  const drawn = log ? curves.map(positivePart).filter((c) => c.x.length > 0) : curves;
  const ends = drawn.flatMap((c) => [c.x[0] ?? 0, c.x[c.x.length - 1] ?? 0]);
  if (chart.limit !== undefined) ends.push(chart.limit.value);
  if (!log) ends.push(0);
  const domain = domainOf(extent(ends, log) ?? [0, 1], log);
  const buckets = Math.ceil(Math.min(frame.width / 2, 1600 / drawn.length));
  const colours = assignColours(drawn.map((c) => c.name));
  const marks: Plot.Markish[] = [
    ...axisX(
      domain,
      { label: chart.xLabel ?? "", format: chart.format, log },
      frame.width > 600 ? 8 : 5,
    ),
    Plot.gridY([0, 0.5, 0.9, 0.99], { stroke: role("grid"), strokeOpacity: 1 }),
    Plot.axisY([0, 0.25, 0.5, 0.75, 0.9, 0.99], {
      tickSize: 0,
      tickPadding: 8,
      tickFormat: (v: number) => `${Math.round(v * 100)}%`,
      label: null,
      fill: role("muted"),
    }),
    ...limitMarks(chart, domain),
    ...drawn.map((c) => curveMark(c, colours.get(c.name) ?? role("ink"), buckets, log)),
  ];
  const legend: LegendItem[] =
    drawn.length > 1
      ? drawn.map((c) => ({ label: c.name, colour: colours.get(c.name) ?? "", shape: "line" }))
      : [];
  if (chart.limit !== undefined)
    legend.push({
      label: chart.limit.label ?? `limit ${writeRound(chart.limit.value, chart.format)}`,
      colour: role("bad"),
      shape: "dash",
    });
  const panel = {
    height: 224,
    plot: {
      marginLeft: 44,
      marginRight: 26,
      marginTop: 10,
      marginBottom: chart.xLabel === undefined ? 26 : 42,
      x: { ...scaleOf(domain, log), nice: false },
      y: { domain: [0, 1], axis: null },
      marks,
    },
  };
  return drawChart(frame, [panel], legend);
}

function curveMark(curve: Curve, colour: string, buckets: number, log: boolean): Plot.Markish {
  const across = log ? curve.x.map(Math.log) : curve.x;
  const kept = decimateLine(across, curve.share, buckets);
  return Plot.line(kept, {
    x: (i: number) => curve.x[i] ?? Number.NaN,
    y: (i: number) => curve.share[i] ?? Number.NaN,
    stroke: colour,
    strokeWidth: 2,
  });
}

function limitMarks(chart: CdfChart, domain: readonly [number, number]): Plot.Markish[] {
  const { limit } = chart;
  if (limit === undefined) return [];
  const rule = Plot.ruleX([limit.value], {
    stroke: role("bad"),
    strokeDasharray: "4 3",
    strokeWidth: 1.5,
  });
  if (limit.quantile === undefined) return [rule];
  // What the curve may not enter: right of the limit below the quantile.
  const shade = Plot.rect([limit], {
    x1: limit.value,
    x2: domain[1],
    y1: 0,
    y2: limit.quantile,
    fill: role("bad"),
    fillOpacity: 0.06,
  });
  return [shade, rule];
}

function curveOf(series: CdfSeries): Curve {
  if ("points" in series) {
    const points = series.points
      .filter((p) => Number.isFinite(p.value) && Number.isFinite(p.share))
      .sort((a, b) => a.value - b.value || a.share - b.share);
    return {
      name: series.name,
      x: Float64Array.from(points, (p) => p.value),
      share: Float64Array.from(points, (p) => p.share),
    };
  }
  const x = Float64Array.from(series.quantiles).filter(Number.isFinite).sort();
  return { name: series.name, x, share: x.map((_, i) => (x.length > 1 ? i / (x.length - 1) : 1)) };
}

function positivePart(curve: Curve): Curve {
  const from = curve.x.findIndex((v) => v > 0);
  return from < 0
    ? { ...curve, x: new Float64Array(0), share: new Float64Array(0) }
    : { ...curve, x: curve.x.subarray(from), share: curve.share.subarray(from) };
}

function spansDecades(curves: readonly Curve[]): boolean {
  const low = Math.min(...curves.map((c) => c.x[Math.floor(c.x.length * 0.02)] ?? 0));
  const high = Math.max(...curves.map((c) => c.x[c.x.length - 1] ?? 0));
  return low > 0 && high / low > 60;
}
