/** Values over time in panels that share the time axis: mean as a line, extremes as a band around it. */
import * as Plot from "@observablehq/plot";
import type { NumberFormat } from "../format.ts";
import { axisX, axisY, scaleOf } from "./axes.ts";
import { type Bin, binSpans, spanRange } from "./bins.ts";
import { type ChartFrame, drawChart, emptyChart, FULL_WIDTH, type Panel } from "./canvas.ts";
import { assignColours, role } from "./palette.ts";

/** One panel: a value for each interval of the chart. */
export interface TimelinePanel {
  /** Colour of the series, stable across charts. */
  readonly name: string;
  readonly heading: string;
  readonly values: ArrayLike<number>;
  readonly format?: NumberFormat;
  /** Upper end of the axis; absent = largest value. */
  readonly max?: number;
}

export interface TimelineChart extends ChartFrame {
  /** Intervals, in seconds unless `timeLabel` says otherwise; intervals of several replicas may overlap. */
  readonly count: number;
  readonly startsAt: ArrayLike<number>;
  readonly endsAt: ArrayLike<number>;
  /** What the time axis counts; absent = seconds since start. */
  readonly timeLabel?: string;
  readonly panels: readonly TimelinePanel[];
}

/** No chart has more bins than this: two pixels each at full width. */
export const MAX_BINS = 420;

/** Draws panels over a shared time axis; more than 420 intervals are binned, extremes stay visible. */
export function timelineChart(chart: TimelineChart): string {
  const frame = { ...chart, width: chart.width ?? FULL_WIDTH };
  const range = spanRange(chart);
  if (range === null || chart.panels.length === 0) return emptyChart(frame, "no batches");
  const to = range.to > range.from ? range.to : range.from + 1e-3;
  const colours = assignColours(chart.panels.map((p) => p.name));
  const bins = Math.min(MAX_BINS, Math.floor(frame.width / 2));
  const panels = chart.panels.map((panel, i) => {
    const binned = binSpans({ ...chart, values: panel.values }, range.from, to, bins);
    const last = i === chart.panels.length - 1;
    return drawSeries(
      panel,
      binned,
      [range.from, to],
      colours.get(panel.name) ?? role("ink"),
      last ? (chart.timeLabel ?? "seconds since start") : null,
    );
  });
  return drawChart(frame, panels);
}

function drawSeries(
  panel: TimelinePanel,
  bins: readonly Bin[],
  time: readonly [number, number],
  colour: string,
  timeLabel: string | null,
): Panel {
  const last = timeLabel !== null;
  const peak = bins.reduce((m, b) => (b.high > m ? b.high : m), 0);
  const domain: [number, number] = [0, panel.max ?? (peak > 0 ? peak : 1)];
  const banded = bins.some((b) => b.high > b.low);
  const marks: Plot.Markish[] = [
    ...axisX(time, { label: timeLabel ?? "", format: "number" }, 8).slice(0, last ? 2 : 1),
    ...axisY(domain, { label: "", format: panel.format ?? "number" }, 3),
    Plot.areaY(bins, {
      x: "at",
      y1: banded ? "low" : 0,
      y2: "high",
      fill: colour,
      fillOpacity: 0.15,
    }),
    Plot.lineY(bins, { x: "at", y: "mean", stroke: colour, strokeWidth: 1.5 }),
    Plot.ruleY([0], { stroke: role("grid") }),
  ];
  return {
    heading: panel.heading,
    height: last ? 152 : 120,
    plot: {
      marginLeft: 52,
      marginRight: 16,
      marginTop: 10,
      marginBottom: last ? 42 : 12,
      x: scaleOf(time),
      y: scaleOf(domain),
      marks,
    },
  };
}
