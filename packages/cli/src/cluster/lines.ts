/** Results of the simulated cluster for people. */
import type { RunSummary } from "@millrace/cluster";
import { formatNumber, formatPercent } from "@millrace/core";
import { formatWhole } from "../ui/numbers.ts";

type Figures = Pick<RunSummary, "jct" | "makespanHours" | "decisions" | "decisionMs"> &
  Partial<RunSummary>;

/** A run in a few lines; what a mode does not know is left out. */
export function summaryLines(summary: Figures, jobs: number): readonly string[] {
  const { jct, makespanHours, utilisation, fairness, decisionMs } = summary;
  const hours = formatNumber;
  const lines = [
    `  jobs         ${formatWhole(jct.n)} of ${formatWhole(jobs)} finished, makespan ${hours(makespanHours)} h`,
    `  JCT          mean ${hours(jct.mean)} h, p50 ${hours(jct.p50)}, p95 ${hours(jct.p95)}, p99 ${hours(jct.p99)}, p99.9 ${hours(jct.p999)}, max ${hours(jct.max)}`,
  ];
  if (utilisation !== undefined)
    lines.push(
      `  held         ${formatPercent(utilisation.gpus)} of the GPUs, ${formatPercent(utilisation.cpus)} of the CPUs, ${formatPercent(utilisation.hostMemory)} of the host memory`,
    );
  if (fairness !== undefined)
    lines.push(
      `  fairness     JCT over time at the share: mean ${hours(fairness.mean)}, p99 ${hours(fairness.worst)}; Jain ${hours(fairness.jain)}`,
    );
  const { tenants = [] } = summary;
  const longest = tenants.reduce((most, { name }) => Math.max(most, name.length), 0);
  if (tenants.length > 1)
    for (const { name, jobs: own, gpuHours, meanJctHours, fairness: behind } of tenants)
      lines.push(
        `  ${name === tenants[0]?.name ? "tenants" : "       "}      ${name.padEnd(longest)}  ${formatWhole(own)} jobs, ${hours(gpuHours)} GPU h, JCT mean ${hours(meanJctHours)} h, ${hours(behind)} of the time at the share`,
      );
  if (summary.restarts !== undefined)
    lines.push(
      `  changes      ${formatWhole(summary.restarts)} restarts, ${formatWhole(summary.preemptions ?? 0)} preemptions`,
    );
  lines.push(
    `  decisions    ${formatWhole(summary.decisions)}, mean ${hours(decisionMs.mean)} ms, p50 ${hours(decisionMs.p50)}, p90 ${hours(decisionMs.p90)}, p99 ${hours(decisionMs.p99)}, max ${hours(decisionMs.max)}`,
  );
  return lines;
}
