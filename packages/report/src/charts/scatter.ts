/** Points of predicted against measured: on the diagonal they agree. */
import * as Plot from "@observablehq/plot";
import { type AxisSpec, axisX, axisY, domainOf, extent, scaleOf } from "./axes.ts";
import { type ChartFrame, drawChart, emptyChart, HALF_WIDTH } from "./canvas.ts";
import { role, slotColour } from "./palette.ts";

export interface ScatterChart extends ChartFrame {
  /** Measured and predicted, both above 0. */
  readonly points: readonly (readonly [number, number])[];
  readonly x: AxisSpec;
  readonly y: AxisSpec;
  /** Relative distance from the diagonal that the band shows, e.g. 0.09. */
  readonly band: number;
}

/** Dots drawn at most: beyond that an even choice of them. */
const MOST_POINTS = 2000;

/** Draws the points on two axes of one logarithmic domain, with the diagonal. */
export function scatterChart(chart: ScatterChart): string {
  const frame = { ...chart, width: chart.width ?? HALF_WIDTH };
  const known = chart.points.filter(([x, y]) => x > 0 && y > 0);
  const range = extent(known.flat(), true);
  if (range === null) return emptyChart(frame, "no requests with both times");
  const every = Math.ceil(known.length / MOST_POINTS);
  const points = known.filter((_, i) => i % every === 0);
  const domain = domainOf(range, true);
  const line = (factor: number) => domain.map((x) => ({ x, y: x * factor }));
  const marks: Plot.Markish[] = [
    Plot.areaY(domain, {
      x: (x: number) => x,
      y1: (x: number) => x * (1 - chart.band),
      y2: (x: number) => x * (1 + chart.band),
      fill: role("good"),
      fillOpacity: 0.12,
      clip: true,
    }),
    ...axisX(domain, { ...chart.x, log: true }, 5),
    ...axisY(domain, { ...chart.y, log: true }, 5),
    Plot.line(line(1), { x: "x", y: "y", stroke: role("good"), strokeWidth: 1.5, clip: true }),
    Plot.dot(points, {
      x: (p: readonly [number, number]) => p[0],
      y: (p: readonly [number, number]) => p[1],
      r: 2,
      fill: slotColour(0),
      fillOpacity: 0.45,
    }),
  ];
  const panel = {
    height: 300,
    plot: {
      marginLeft: 60,
      marginRight: 18,
      marginTop: 26,
      marginBottom: 44,
      x: scaleOf(domain, true),
      y: scaleOf(domain, true),
      marks,
    },
  };
  return drawChart(frame, [panel]);
}
