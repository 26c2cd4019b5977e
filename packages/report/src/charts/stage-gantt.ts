/** Pipeline stages over a short window: which batch runs where, and where a stage waits (a bubble). */
import * as Plot from "@observablehq/plot";
import { axisX, scaleOf } from "./axes.ts";
import { type ChartFrame, drawChart, emptyChart, FULL_WIDTH, type LegendItem } from "./canvas.ts";
import { assignColours, role } from "./palette.ts";

/** The columns of a batch timeline that the chart reads; times of stage s of batch b are at [b * stages + s]. */
export interface StageRows {
  readonly count: number;
  readonly stages: number;
  readonly replica: ArrayLike<number>;
  readonly stageStartsAt: ArrayLike<number>;
  readonly stageEndsAt: ArrayLike<number>;
  readonly prefillTokens: ArrayLike<number>;
  readonly decodeRows: ArrayLike<number>;
}

export interface StageGantt extends ChartFrame {
  readonly timeline: StageRows;
  /** Replica to show; default that of the batch in the middle of the run. */
  readonly replica?: number;
  /** Batches to show, around the middle of the run; default 24, at most 200. */
  readonly batches?: number;
}

type Work = "prefill" | "mixed" | "decode";

interface Box {
  readonly stage: number;
  readonly start: number;
  readonly end: number;
  readonly work: Work;
}

const workNames: Readonly<Record<Work, string>> = {
  prefill: "prefill only",
  mixed: "prefill and decode",
  decode: "decode only",
};

/** Draws one lane per stage; the light ground between boxes is idle time. */
export function stageGantt(chart: StageGantt): string {
  const frame = { ...chart, width: chart.width ?? FULL_WIDTH };
  const boxes = boxesOf(chart);
  if (boxes.length === 0) return emptyChart(frame, "no batches");
  const from = boxes.reduce((m, b) => Math.min(m, b.start), Number.POSITIVE_INFINITY);
  const to = boxes.reduce((m, b) => Math.max(m, b.end), from + 1e-9);
  const lanes = Array.from({ length: chart.timeline.stages }, (_, s) => s);
  const colours = assignColours(["prefill", "mixed", "decode"]);
  const works = (["prefill", "mixed", "decode"] as const).filter((w) =>
    boxes.some((b) => b.work === w),
  );
  const ms = (seconds: number): number => (seconds - from) * 1e3;
  const time: [number, number] = [0, ms(to)];
  const marks: Plot.Markish[] = [
    Plot.barX(lanes, {
      y: (s: number) => s,
      x1: time[0],
      x2: time[1],
      fill: role("grid"),
      fillOpacity: 0.6,
    }),
    ...axisX(time, { label: "milliseconds from the start of the window" }, 8),
    ...works.map((work) =>
      Plot.barX(
        boxes.filter((b) => b.work === work),
        {
          y: "stage",
          x1: (b: Box) => ms(b.start),
          x2: (b: Box) => ms(b.end),
          fill: colours.get(work) ?? role("ink"),
          insetLeft: 0.5,
          insetRight: 0.5,
          rx: 1.5,
        },
      ),
    ),
    Plot.axisY({
      tickSize: 0,
      tickPadding: 8,
      tickFormat: (s: number) => `stage ${s}`,
      label: null,
      fill: role("ink"),
    }),
  ];
  const legend: LegendItem[] = works.map((w) => ({
    label: workNames[w],
    colour: colours.get(w) ?? "",
    shape: "square",
  }));
  legend.push({ label: "idle (bubble)", colour: role("grid"), shape: "square" });
  const panel = {
    height: lanes.length * 34 + 48,
    plot: {
      marginLeft: 62,
      marginRight: 16,
      marginTop: 2,
      marginBottom: 44,
      x: scaleOf(time),
      y: { type: "band" as const, domain: lanes, padding: 0.22, axis: null },
      marks,
    },
  };
  return drawChart(frame, [panel], legend);
}

function boxesOf({ timeline, replica, batches }: StageGantt): Box[] {
  const middle = Math.floor(timeline.count / 2);
  const shown = replica ?? timeline.replica[middle] ?? 0;
  const wanted = Math.max(1, Math.min(200, batches ?? 24));
  const rows: number[] = [];
  for (
    let b = Math.max(0, firstOf(timeline, shown, middle, wanted));
    b < timeline.count && rows.length < wanted;
    b++
  )
    if (timeline.replica[b] === shown) rows.push(b);
  return rows.flatMap((b) => {
    const prefill = (timeline.prefillTokens[b] ?? 0) > 0;
    const decode = (timeline.decodeRows[b] ?? 0) > 0;
    const work: Work = prefill ? (decode ? "mixed" : "prefill") : "decode";
    return Array.from({ length: timeline.stages }, (_, stage) => ({
      stage,
      start: timeline.stageStartsAt[b * timeline.stages + stage] ?? Number.NaN,
      end: timeline.stageEndsAt[b * timeline.stages + stage] ?? Number.NaN,
      work,
    })).filter((box) => Number.isFinite(box.start) && Number.isFinite(box.end));
  });
}

/** Half of the wanted batches lie before the middle of the run. */
function firstOf(timeline: StageRows, replica: number, middle: number, wanted: number): number {
  let left = Math.floor(wanted / 2);
  let b = middle;
  while (b > 0 && left > 0) if (timeline.replica[--b] === replica) left--;
  return b;
}
