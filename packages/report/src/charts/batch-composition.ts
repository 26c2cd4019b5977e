/** What batches are made of over time: prompt tokens above, decoding requests below. */
import type { ChartFrame } from "./canvas.ts";
import { timelineChart } from "./timeline.ts";

/** The columns of a batch timeline that the chart reads; rows are batches, in seconds. */
export interface BatchRows {
  readonly count: number;
  readonly startsAt: ArrayLike<number>;
  readonly endsAt: ArrayLike<number>;
  readonly prefillTokens: ArrayLike<number>;
  readonly decodeRows: ArrayLike<number>;
}

/** Draws prefill tokens and decode rows per batch; bins, so that millions of batches stay below 100 kB. */
export function batchCompositionChart(
  timeline: BatchRows,
  frame: Partial<ChartFrame> = {},
): string {
  return timelineChart({
    title: "Batch composition over time",
    description:
      "Prefill tokens and decode rows of each batch: mean as a line, extremes as a band.",
    ...frame,
    count: timeline.count,
    startsAt: timeline.startsAt,
    endsAt: timeline.endsAt,
    panels: [
      { name: "prefill", heading: "Prefill tokens per batch", values: timeline.prefillTokens },
      { name: "decode", heading: "Decode rows per batch", values: timeline.decodeRows },
    ],
  });
}
