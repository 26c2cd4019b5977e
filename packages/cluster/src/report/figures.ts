/** Charts of a run's timeline: who held which GPU, and what was in use. */
import { type Figure, timelineChart, writeNumber } from "@millrace/report";
import type { ClusterShape } from "../simulator/experiment.ts";
import type { Segment, Timeline, UsageSample } from "../simulator/timeline.ts";
import { serverGantt } from "./gantt.ts";

/** Servers and hours that a Gantt shows at most. */
const mostServers = 16;
const mostHours = 168;
const hour = 3600;

/** What a timeline says, as plain data. */
export interface Course {
  readonly segments: readonly Segment[];
  readonly samples: readonly UsageSample[];
  readonly capacity: Timeline["capacity"];
}

/** A lane per GPU, a colour per model. */
export function ganttFigure(
  title: string,
  {
    segments,
    jobs,
  }: {
    readonly segments: readonly Segment[];
    readonly jobs: readonly { readonly id: string; readonly model: string }[];
  },
  cluster: ClusterShape,
  { servers: shown = mostServers, hours = mostHours } = {},
): Figure {
  const end = segments.reduce((last, segment) => Math.max(last, segment.to), 0);
  const servers = Math.min(shown, cluster.servers);
  const to = Math.min(end, hours * hour);
  const { svg, leftOut } = serverGantt({
    segments,
    nameOf: (job) => `job ${jobs[job]?.id}`,
    groupOf: (job) => jobs[job]?.model ?? "",
    servers: Array.from({ length: servers }, (_, s) => ({ name: `s${s}`, gpus: cluster.gpus })),
    from: 0,
    to,
  });
  const notes = ["a lane per GPU, a colour per model; point at a box for its job"];
  if (servers < cluster.servers) notes.push(`the first ${servers} servers`);
  if (to < end) notes.push(`the first ${hours} hours of ${writeNumber(end / hour)}`);
  if (leftOut > 0) notes.push(`${writeNumber(leftOut, "whole")} boxes left out`);
  return { title, svg, caption: `${notes.join("; ")}.` };
}

/** Parts of GPUs, CPUs and host memory held, and jobs waiting. */
export function usageFigure(title: string, { samples, capacity }: Course): Figure {
  const startsAt = samples.map(({ at }) => at / hour);
  const endsAt = samples.map(({ at }, i) => (samples[i + 1]?.at ?? at + 1) / hour);
  const share = (of: "gpus" | "cpus" | "hostBytes") => samples.map((s) => s[of] / capacity[of]);
  const part = { format: "percent", max: 1 } as const;
  return {
    title,
    svg: timelineChart({
      title,
      description: "Parts of all GPUs, CPUs and host memory that jobs hold; jobs that wait.",
      count: samples.length,
      startsAt,
      endsAt,
      timeLabel: "hours since start",
      panels: [
        { name: "gpu", heading: "GPUs", values: share("gpus"), ...part },
        { name: "cpu", heading: "CPUs", values: share("cpus"), ...part },
        { name: "memory", heading: "Host memory", values: share("hostBytes"), ...part },
        { name: "queue", heading: "Jobs waiting", values: samples.map((s) => s.waiting) },
      ],
    }),
  };
}
