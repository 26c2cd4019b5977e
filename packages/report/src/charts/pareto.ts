/** Trade-off between two goals: every candidate a dot, the ones that nothing beats joined by a line. */
import * as Plot from "@observablehq/plot";
import { type NumberFormat, writeNumber } from "../format.ts";
import { type AxisSpec, axisX, axisY, domainOf, extent, scaleOf } from "./axes.ts";
import {
  type ChartFrame,
  chartLabel,
  drawChart,
  emptyChart,
  HALF_WIDTH,
  type LegendItem,
} from "./canvas.ts";
import { decimateCloud } from "./decimate.ts";
import { assignColours, role } from "./palette.ts";

export interface ParetoPoint {
  readonly x: number;
  readonly y: number;
  /** Shown when pointed at. */
  readonly label: string;
  /** Decides the colour. */
  readonly group: string;
  readonly best?: boolean;
  readonly pareto?: boolean;
  /** What the reader runs today. */
  readonly current?: boolean;
}

/** An axis and which end of it is better. */
export interface GoalAxis extends AxisSpec {
  readonly better: "low" | "high";
}

export interface ParetoChart extends ChartFrame {
  readonly points: readonly ParetoPoint[];
  readonly x: GoalAxis;
  readonly y: GoalAxis;
  /** Limit on y, drawn as a line. */
  readonly limit?: { readonly value: number; readonly label?: string };
}

/** Points drawn at most, and points up to which all have a label to point at. */
const MOST = 480;
const LABELLED = 160;

/** Draws a cloud of candidates; thousands of points are thinned where they lie on one another, named ones never. */
export function paretoChart(chart: ParetoChart): string {
  const frame = { ...chart, width: chart.width ?? HALF_WIDTH };
  const special = (p: ParetoPoint): boolean =>
    p.best === true || p.pareto === true || p.current === true;
  const valid = chart.points.filter(
    (p) => (chart.x.log !== true || p.x > 0) && (chart.y.log !== true || p.y > 0),
  );
  const points = thinned(valid);
  const xs = extent(
    points.map((p) => p.x),
    chart.x.log,
  );
  const ys = extent(
    [...points.map((p) => p.y), ...(chart.limit ? [chart.limit.value] : [])],
    chart.y.log,
  );
  if (xs === null || ys === null) return emptyChart(frame, "no candidates");
  const x = padded(domainOf(xs, chart.x.log), chart.x.log === true);
  const y = padded(domainOf(ys, chart.y.log), chart.y.log === true);
  const colours = assignColours(points.map((p) => p.group));
  const colourOf = (p: ParetoPoint): string => colours.get(p.group) ?? role("muted");
  const front = points.filter((p) => p.pareto === true).sort((a, b) => a.x - b.x || a.y - b.y);
  const others = points.filter((p) => !special(p));
  const titleOf = (p: ParetoPoint): string =>
    `${chartLabel(p.label, 90)}\n${describe(p.x, chart.x)} · ${describe(p.y, chart.y)}`;
  const marks: Plot.Markish[] = [
    ...axisX(x, chart.x, frame.width > 600 ? 8 : 5),
    ...axisY(y, chart.y, 5),
    ...(chart.limit
      ? [
          Plot.ruleY([chart.limit.value], {
            stroke: role("bad"),
            strokeDasharray: "4 3",
            strokeWidth: 1.5,
          }),
        ]
      : []),
    Plot.line(front, {
      x: "x",
      y: "y",
      stroke: role("ink"),
      strokeOpacity: 0.45,
      strokeWidth: 1.5,
    }),
    dots(others, colourOf, points.length <= LABELLED ? titleOf : null, 3, 0.45),
    dots(points.filter(special), colourOf, titleOf, 4.5, 1),
    rings(
      points.filter((p) => p.current === true),
      7,
      "2 2",
    ),
    rings(
      points.filter((p) => p.best === true),
      8.5,
    ),
  ];
  const legend: LegendItem[] = [...colours].map(([label, colour]) => ({
    label,
    colour,
    shape: "dot",
  }));
  if (points.some((p) => p.best === true))
    legend.push({ label: "winner", colour: role("ink"), shape: "ring" });
  if (front.length > 1)
    legend.push({ label: "Pareto front", colour: role("muted"), shape: "line" });
  if (chart.limit)
    legend.push({ label: chart.limit.label ?? "limit", colour: role("bad"), shape: "dash" });
  const panel = {
    height: 330,
    plot: {
      marginLeft: 58,
      marginRight: 16,
      marginTop: 26,
      marginBottom: 44,
      x: scaleOf(x, chart.x.log),
      y: scaleOf(y, chart.y.log),
      marks,
    },
  };
  return drawChart(frame, [panel], legend);
}

/** As many points as a chart can hold: a coarser grid until few enough are left, the winner and today always. */
function thinned(points: readonly ParetoPoint[]): ParetoPoint[] {
  const front = points.filter((p) => p.pareto === true).length;
  const keep = (p: ParetoPoint): boolean =>
    p.best === true || p.current === true || (p.pareto === true && front <= MOST / 2);
  const group = (p: ParetoPoint): string => `${p.group} ${p.pareto === true}`;
  let kept = decimateCloud(points, group, keep, 80, 60);
  for (let cells = 40; kept.length > MOST && cells > 2; cells /= 2)
    kept = decimateCloud(points, group, keep, cells, Math.ceil(cells * 0.75));
  return kept;
}

/** Marks the points that no other beats on both goals; equal points are all on the front. Cost: one sort. */
export function frontOf<P extends { readonly x: number; readonly y: number }>(
  points: readonly P[],
  better: { readonly x: "low" | "high"; readonly y: "low" | "high" },
): (P & { readonly pareto: boolean })[] {
  const cost = (value: number, goal: "low" | "high"): number => (goal === "low" ? value : -value);
  const usable = points.filter((p) => Number.isFinite(p.x) && Number.isFinite(p.y));
  const order = [...usable].sort(
    (a, b) =>
      cost(a.x, better.x) - cost(b.x, better.x) || cost(a.y, better.y) - cost(b.y, better.y),
  );
  const front = new Set<P>();
  let last: P | undefined;
  for (const p of order) {
    if (
      last !== undefined &&
      cost(p.y, better.y) >= cost(last.y, better.y) &&
      !(p.x === last.x && p.y === last.y)
    )
      continue;
    front.add(p);
    last = p;
  }
  return points.map((p) => ({ ...p, pareto: front.has(p) }));
}

function dots(
  points: readonly ParetoPoint[],
  colourOf: (p: ParetoPoint) => string,
  titleOf: ((p: ParetoPoint) => string) | null,
  r: number,
  opacity: number,
): Plot.Markish[] {
  // One mark per group keeps the colour off every dot.
  return [...new Set(points.map(colourOf))].map((colour) =>
    Plot.dot(
      points.filter((p) => colourOf(p) === colour),
      {
        x: "x",
        y: "y",
        r,
        fill: colour,
        fillOpacity: opacity,
        ...(titleOf ? { title: titleOf } : {}),
      },
    ),
  );
}

function rings(points: readonly ParetoPoint[], r: number, dash?: string): Plot.Markish {
  return Plot.dot(points, {
    x: "x",
    y: "y",
    r,
    fill: "none",
    stroke: role("ink"),
    strokeWidth: 1.8,
    ...(dash === undefined ? {} : { strokeDasharray: dash }),
  });
}

function describe(
  value: number,
  axis: { readonly label: string; readonly format?: NumberFormat },
): string {
  return `${axis.label} ${writeNumber(value, axis.format)}`;
}

function padded([low, high]: [number, number], log: boolean): [number, number] {
  if (log) {
    const f = (high / low) ** 0.06;
    return [low / f, high * f];
  }
  const room = (high - low) * 0.06;
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}
