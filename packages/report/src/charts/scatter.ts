/** Points of predicted against measured: on the diagonal they agree. */
import { quantileSorted } from "@millrace/core";
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
  const range = extent(withoutStrays(known.flat()), true);
  if (range === null) return emptyChart(frame, "no requests with both times");
  const every = Math.ceil(known.length / MOST_POINTS);
  const points = known.filter((_, i) => i % every === 0);
  const domain = domainOf(range, true);
  const within = (x: number): number => Math.min(domain[1], Math.max(domain[0], x));
  const strays = known.filter((point) => point.some((x) => within(x) !== x)).length;
  // Where the band's edges meet those of the chart: clipped by hand, since Plot numbers its clips and a chart has to have
  // the same bytes each time.
  const { band } = chart;
  const corners = [
    domain[0],
    within(domain[0] / (1 - band)),
    within(domain[1] / (1 + band)),
    domain[1],
  ];
  const marks: Plot.Markish[] = [
    Plot.areaY(
      corners.sort((a, b) => a - b),
      {
        x: (x: number) => x,
        y1: (x: number) => within(x * (1 - band)),
        y2: (x: number) => within(x * (1 + band)),
        fill: role("good"),
        fillOpacity: 0.12,
      },
    ),
    ...axisX(domain, { ...chart.x, log: true }, 5),
    ...axisY(domain, { ...chart.y, log: true }, 5),
    Plot.line(domain, {
      x: (x: number) => x,
      y: (x: number) => x,
      stroke: role("good"),
      strokeWidth: 1.5,
    }),
    Plot.dot(points, {
      x: (p: readonly [number, number]) => within(p[0]),
      y: (p: readonly [number, number]) => within(p[1]),
      r: 2,
      fill: slotColour(0),
      fillOpacity: 0.45,
    }),
    ...(strays === 0
      ? []
      : [
          Plot.text([`${strays} beyond the axes, at their border`], {
            frameAnchor: "bottom-right",
            dx: -4,
            dy: -6,
            fill: role("muted"),
          }),
        ]),
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

/** Values that stand alone, more than ten times off nearly all others, would press these into a corner. */
const STRAY = { times: 10, share: 0.02 };

function withoutStrays(values: readonly number[]): readonly number[] {
  if (values.length === 0) return values;
  const sorted = Float64Array.from(values).sort();
  const low = quantileSorted(sorted, STRAY.share) / STRAY.times;
  const high = quantileSorted(sorted, 1 - STRAY.share) * STRAY.times;
  return values.filter((x) => x >= low && x <= high);
}
