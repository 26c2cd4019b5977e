/** The report of a simulated cluster: completion times first, then who ran where, what was used, and the jobs by model. */
import {
  cdfChart,
  type KeyFigure,
  type ReportDocument,
  type Section,
  writeNumber,
} from "@millrace/report";
import type { Experiment, Outcome } from "../simulator/experiment.ts";
import { completionTimes, type RunSummary } from "../simulator/metrics.ts";
import { ganttFigure, usageFigure } from "./figures.ts";

/** A run with its timeline kept. */
export interface ClusterReportInput
  extends Pick<Outcome, "jobs" | "result" | "summary" | "rejected"> {
  readonly experiment: Experiment;
}

/** Where the report comes from. */
export interface Provenance {
  readonly command: string;
  readonly version: string;
}

const hour = 3600;
/** Writes the document. */
export function clusterReport(
  input: ClusterReportInput,
  { command, version }: Provenance,
): ReportDocument {
  const { experiment, summary, jobs, rejected } = input;
  const { cluster, policy, allocator } = experiment;
  const figures: KeyFigure[] = [
    { label: "mean JCT", value: writeNumber(summary.jct.mean), unit: "h" },
    { label: "p99 JCT", value: writeNumber(summary.jct.p99), unit: "h" },
    { label: "makespan", value: writeNumber(summary.makespanHours), unit: "h" },
    { label: "GPUs held", value: writeNumber(summary.utilisation.gpus, "percent") },
    { label: "CPUs held", value: writeNumber(summary.utilisation.cpus, "percent") },
    { label: "restarts", value: writeNumber(summary.restarts, "whole") },
  ];
  const unfinished = jobs.length - summary.jct.n;
  return {
    kind: "Cluster simulation",
    title: `${writeNumber(jobs.length, "whole")} jobs on ${cluster.servers} servers of ${cluster.gpus} GPUs`,
    subtitle: `${policy} with ${allocator}; ${cluster.cpus} CPUs and ${writeNumber(cluster.hostBytes / 1e9)} GB of host memory per server, rounds of ${experiment.roundSeconds} s.`,
    command,
    madeWith: [
      { label: "seed", value: String(experiment.seed) },
      { label: "restart cost", value: `${experiment.restartSeconds} s` },
      { label: "cache refill", value: `${experiment.refillSeconds} s` },
      { label: "profile error", value: writeNumber(experiment.profileError, "percent") },
      { label: "version", value: version },
    ],
    verdict: {
      tone: unfinished === 0 ? "good" : "warning",
      headline:
        unfinished === 0
          ? `All jobs ended; one took ${writeNumber(summary.jct.mean)} hours on average.`
          : `${writeNumber(unfinished, "whole")} of ${writeNumber(jobs.length, "whole")} jobs did not end.`,
      ...(rejected.length === 0
        ? {}
        : {
            detail: `${rejected.length} more jobs were rejected: no profile, or more GPUs than there are.`,
          }),
      figures,
    },
    sections: [
      times(input),
      whereSection(input),
      usage(input),
      models(input),
      ...(summary.tenants.length > 1 ? [tenants(summary)] : []),
      decisions(summary),
    ],
    data: summary,
  };
}

function times({ jobs, result, summary }: ClusterReportInput): Section {
  const jct = completionTimes(jobs, result.finish).map((seconds) => seconds / hour);
  const waits = result.firstStart.map((at, i) => (at - (jobs[i]?.arrivedAt ?? 0)) / hour);
  const { p50, p95, p99, p999, max } = summary.jct;
  return {
    id: "jct",
    heading: "Completion times",
    blocks: [
      {
        kind: "charts",
        columns: 2,
        charts: [
          {
            title: "Job completion time",
            svg: cdfChart({
              title: "Job completion time",
              description: "Share of the jobs that took at most so many hours.",
              series: [{ name: "JCT", quantiles: jct.filter(Number.isFinite).sort() }],
              format: "number",
              xLabel: "hours",
            }),
          },
          {
            title: "Wait for the first start",
            svg: cdfChart({
              title: "Wait for the first start",
              description: "Share of the jobs that first ran after so many hours.",
              series: [{ name: "wait", quantiles: waits.filter(Number.isFinite).sort() }],
              format: "number",
              xLabel: "hours",
            }),
          },
        ],
      },
      {
        kind: "table",
        columns: ["mean", "p50", "p95", "p99", "p99.9", "max"].map((header) => ({
          header,
          kind: "number" as const,
          unit: "h",
        })),
        rows: [{ cells: [summary.jct.mean, p50, p95, p99, p999, max] }],
      },
    ],
  };
}

function whereSection({ jobs, result, experiment }: ClusterReportInput): Section {
  const chart = ganttFigure("Jobs on GPUs", { ...result.timeline, jobs }, experiment.cluster);
  return {
    id: "gantt",
    heading: "Who ran where",
    blocks: [{ kind: "charts", columns: 1, charts: [chart] }],
  };
}

function usage({ result }: ClusterReportInput): Section {
  return {
    id: "usage",
    heading: "Resources over time",
    short: "Resources",
    blocks: [
      {
        kind: "charts",
        columns: 1,
        charts: [usageFigure("Held by jobs, and jobs waiting", result.timeline)],
      },
    ],
  };
}

function models({ jobs, result }: ClusterReportInput): Section {
  const jct = completionTimes(jobs, result.finish);
  const rows = new Map<string, { n: number; jct: number; work: number; restarts: number }>();
  jobs.forEach((job, i) => {
    const seconds = jct[i] as number;
    if (Number.isNaN(seconds)) return;
    const row = rows.get(job.model) ?? { n: 0, jct: 0, work: 0, restarts: 0 };
    row.n++;
    row.jct += seconds;
    row.work += job.workSeconds;
    row.restarts += result.restarts[i] ?? 0;
    rows.set(job.model, row);
  });
  return {
    id: "models",
    heading: "By model",
    short: "Models",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "Model", kind: "code" },
          { header: "Jobs", kind: "number", format: "whole" },
          { header: "Mean JCT", kind: "number", unit: "h", bar: true },
          { header: "JCT over time at the share", kind: "number" },
          { header: "Restarts", kind: "number", format: "whole" },
        ],
        rows: [...rows]
          .sort((a, b) => a[0].localeCompare(b[0]))
          .map(([model, row]) => ({
            cells: [model, row.n, row.jct / row.n / hour, row.jct / row.work, row.restarts],
          })),
        note: "Below 1 in the fourth column: more than its share made up for all its waiting.",
      },
    ],
  };
}

function tenants({ tenants: rows }: RunSummary): Section {
  return {
    id: "tenants",
    heading: "By tenant",
    short: "Tenants",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "Tenant", kind: "code" },
          { header: "Jobs", kind: "number", format: "whole" },
          { header: "GPU time", kind: "number", unit: "h", bar: true },
          { header: "Mean JCT", kind: "number", unit: "h" },
          { header: "p95", kind: "number", unit: "h" },
          { header: "JCT over time at the share", kind: "number" },
        ],
        rows: rows.map(({ name, jobs, gpuHours, meanJctHours, p95JctHours, fairness }) => ({
          cells: [name, jobs, gpuHours, meanJctHours, p95JctHours, fairness],
        })),
      },
    ],
  };
}

function decisions({
  decisionMs,
  decisions,
  restarts,
  preemptions,
  fairness,
}: RunSummary): Section {
  return {
    id: "decisions",
    heading: "Decisions",
    blocks: [
      {
        kind: "facts",
        facts: [
          { label: "decisions", value: writeNumber(decisions, "whole") },
          { label: "mean", value: `${writeNumber(decisionMs.mean)} ms` },
          { label: "p50", value: `${writeNumber(decisionMs.p50)} ms` },
          { label: "p90", value: `${writeNumber(decisionMs.p90)} ms` },
          { label: "p99", value: `${writeNumber(decisionMs.p99)} ms` },
          { label: "max", value: `${writeNumber(decisionMs.max)} ms` },
          { label: "restarts", value: writeNumber(restarts, "whole") },
          { label: "preemptions", value: writeNumber(preemptions, "whole") },
          { label: "finish-time fairness, p99", value: writeNumber(fairness.worst) },
          { label: "Jain's index", value: writeNumber(fairness.jain) },
        ],
      },
    ],
  };
}
