/** A cluster's status for people. */
import type { ClusterStatus, JobStatus } from "@millrace/cluster/run";
import { formatBytes, formatCount, formatNumber, formatSeconds } from "@millrace/core";
import type { Session } from "../session.ts";
import { type Column, table } from "../ui/table.ts";

type Look = Pick<Session, "width" | "paint">;

/**
 * Servers, then jobs: those that run, those that wait, those that have ended (the last one first). In `most` lines: what does
 * not fit is left out from below, and counted.
 */
export function statusLines(
  status: ClusterStatus,
  { width, paint }: Look,
  most = Number.POSITIVE_INFINITY,
): readonly string[] {
  const right = (title: string, drop?: number) =>
    ({ title, align: "right", ...(drop === undefined ? {} : { drop }) }) as const;
  const servers = status.servers.map(
    ({ name, condition, gpus, cpus, hostBytes, heldGpus, heldCpus, heldBytes }) => [
      name,
      condition,
      `${heldGpus}/${gpus}`,
      `${formatNumber(heldCpus)}/${formatNumber(cpus)}`,
      `${formatBytes(heldBytes)} of ${formatBytes(hostBytes)}`,
    ],
  );
  const order = (job: JobStatus): number =>
    job.slices.length > 0 ? 0 : job.state === "waiting" ? 1 : 2;
  const jobs = [...status.jobs].sort(
    (a, b) =>
      order(a) - order(b) || (b.finishedAt ?? 0) - (a.finishedAt ?? 0) || a.arrivedAt - b.arrivedAt,
  );
  // Two headers, an empty line, the summary, and the line that counts what is left out.
  const room = Math.max(3, most - servers.length - 5);
  const shown = jobs.length > room + 1 ? jobs.slice(0, room) : jobs;
  return [
    ...(servers.length === 0
      ? []
      : [
          ...table(
            [
              { title: "server" },
              { title: "" },
              right("GPUs"),
              right("CPUs"),
              right("host memory", 1),
            ],
            servers,
            { width, paint },
          ),
          "",
        ]),
    ...filledTable(
      [
        { title: "job" },
        { title: "state" },
        { title: "server" },
        right("GPUs"),
        right("CPUs"),
        right("memory", 2),
        right("speed", 3),
        right("step", 4),
        right("left"),
        { title: "", least: 10 },
      ],
      shown.map((job) => row(job, status.at)),
      { width, paint },
    ),
    ...(shown.length < jobs.length ? [`… and ${jobs.length - shown.length} more jobs`] : []),
    summary(status),
  ];
}

/** A table without the columns that say nothing: where nothing runs, there is room for the reasons. */
function filledTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  look: Look,
): readonly string[] {
  const filled = (_: unknown, index: number): boolean =>
    index === 0 || rows.some((cells) => cells[index] !== "");
  return table(
    columns.filter(filled),
    rows.map((cells) => cells.filter(filled)),
    look,
  );
}

function row(job: JobStatus, at: number): readonly string[] {
  const { slices } = job;
  const sum = (of: (slice: JobStatus["slices"][number]) => number) =>
    slices.reduce((total, slice) => total + of(slice), 0);
  const on = slices.length > 0;
  const ended =
    job.finishedAt === null ? "" : `after ${formatSeconds(job.finishedAt - job.arrivedAt)}`;
  const waited =
    job.state === "waiting" ? `for ${formatSeconds(Math.max(0, at - job.arrivedAt))}` : "";
  return [
    job.id,
    job.state,
    slices.map((slice) => slice.server).join(","),
    on ? slices.map((slice) => slice.gpus.join(",")).join(" ") : `(${job.gpus})`,
    on ? formatNumber(sum((slice) => slice.cpus)) : "",
    on ? formatBytes(sum((slice) => slice.hostBytes)) : "",
    on ? `${formatNumber(job.speed)}x` : "",
    job.step > 0 ? formatCount(job.step) : "",
    job.leftSeconds === null ? "" : formatSeconds(job.leftSeconds),
    [ended, waited, job.reason].filter((text) => text !== "").join("; "),
  ];
}

function summary({ jobs, draining, scheduler }: ClusterStatus): string {
  const count = (state: JobStatus["state"]) => jobs.filter((job) => job.state === state).length;
  const states = [
    "running",
    "stopping",
    "waiting",
    "done",
    "failed",
    "cancelled",
    "rejected",
  ] as const;
  const parts = states.filter((s) => count(s) > 0).map((s) => `${count(s)} ${s}`);
  if (draining === "all") parts.push("draining");
  else if (draining.length > 0) parts.push(`draining: ${draining.join(", ")}`);
  if (scheduler.running) parts.push(`${formatCount(scheduler.plans)} plans`);
  return parts.join(", ");
}
