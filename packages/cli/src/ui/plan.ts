/** The answer of a plan for people: the winner and why, the runners-up, what would change it, what was left out. */
import {
  formatDollars,
  formatNumber,
  formatPercent,
  formatSeconds,
} from "@millrace/core";
import type { Candidate, JudgedCandidate, PlanResult, SloCheck } from "@millrace/sim";
import { type Paint, unpainted } from "./paint.ts";
import { shortName } from "./summary.ts";
import { facts, table } from "./table.ts";
import { wrap } from "./width.ts";

export interface PlanLinesOptions {
  readonly width: number;
  readonly paint?: Paint;
  /** Rows of the table at most. */
  readonly rows?: number;
}

/** The lines of the answer. */
export function planLines(result: PlanResult, options: PlanLinesOptions): readonly string[] {
  const { width, paint = unpainted } = options;
  return [
    ...heading(result, paint),
    ...(result.best === null ? nothingFits(result, paint) : winner(result, result.best, width, paint)),
    ...candidateTable(result, options),
    ...closing(result, width, paint),
  ];
}

/** `4 × h100, TP 4, sarathi-serve, chunk 512, batch 128`: one replica. */
export function deploymentName(c: Candidate): string {
  const parts = [`${c.tensorParallel * c.pipelineParallel} × ${c.device}`];
  if (c.tensorParallel > 1) parts.push(`TP ${c.tensorParallel}`);
  if (c.pipelineParallel > 1) parts.push(`PP ${c.pipelineParallel}`);
  parts.push(c.scheduler);
  if (chunks(c)) parts.push(`chunk ${c.chunkSize}`);
  parts.push(`batch ${c.batchSizeCap}`);
  if (c.kv !== "paged") parts.push(`${c.kv} KV`);
  if (c.weightBytes !== 2 || c.kvBytes !== 2)
    parts.push(`${c.weightBytes * 8}-bit weights, ${c.kvBytes * 8}-bit KV`);
  return parts.join(", ");
}

function chunks({ scheduler }: Candidate): boolean {
  return !["vllm-v0", "orca", "faster-transformer", "lightllm"].includes(scheduler);
}

function heading({ model, load, workload, slo }: PlanResult, paint: Paint): readonly string[] {
  const peak = load.peakFactor === 1 ? "" : `, peaks of ${formatNumber(load.peakFactor)}×`;
  const spare =
    load.spareReplicas === 0
      ? ""
      : `, ${load.spareReplicas} spare replica${load.spareReplicas === 1 ? "" : "s"}`;
  return [
    `${paint("strong", shortName(model))}: ${workload} at ${formatNumber(load.qps)} requests/s${peak}${spare}`,
    paint("faint", `SLO: ${slo.join(", ")}`),
  ];
}

function winner(
  { candidates, best: _, ...result }: PlanResult,
  best: JudgedCandidate,
  width: number,
  paint: Paint,
): readonly string[] {
  const { low, high, value } = best.capacityQps;
  const replicas = `${best.replicasNeeded} replica${best.replicasNeeded === 1 ? "" : "s"}`;
  const pairs: (readonly [string, string])[] = [
    ["size", `${replicas}, ${best.gpus} GPUs`],
    [
      "cost",
      `${formatDollars(best.dollarsPerHour)} per hour, ${formatDollars(best.dollarsPerMonth)} per month, ${formatDollars(best.dollarsPerMillionTokens)} per million tokens`,
    ],
    [
      "capacity",
      `${formatNumber(value)} requests/s per replica (${formatNumber(low)} to ${formatNumber(high)})`,
    ],
    ["bottleneck", best.bottleneck],
    ...whyPairs(candidates, best, result.current),
  ];
  return [
    "",
    `${paint("good", "best")}  ${paint("strong", deploymentName(best.config))}`,
    ...wrappedFacts(pairs, width, paint),
    ...best.slo.map((check) => `  ${sloText(check, paint)}`),
  ];
}

/** What the winner is compared with: the next best of another kind, and what runs today. */
function whyPairs(
  candidates: readonly JudgedCandidate[],
  best: JudgedCandidate,
  current: JudgedCandidate | null,
): readonly (readonly [string, string])[] {
  const cheaper = (other: JudgedCandidate) =>
    formatPercent(1 - best.dollarsPerHour / other.dollarsPerHour);
  const rival = (differs: (c: Candidate) => boolean) =>
    candidates.find((other) => other !== best && differs(other.config));
  const pairs: (readonly [string, string])[] = [];
  const device = rival((c) => c.device !== best.config.device);
  if (device !== undefined && device.dollarsPerHour > best.dollarsPerHour)
    pairs.push([
      "why",
      `${cheaper(device)} cheaper than the best with ${device.config.device} (${device.gpus} GPUs, ${formatDollars(device.dollarsPerHour)} per hour)`,
    ]);
  const scheduler = rival(
    (c) => c.scheduler !== best.config.scheduler && c.device === best.config.device,
  );
  if (scheduler !== undefined)
    pairs.push([
      pairs.length === 0 ? "why" : "",
      `carries ${formatNumber(best.capacityQps.value / scheduler.capacityQps.value)} times the load of ${deploymentName(scheduler.config)}`,
    ]);
  if (current !== null)
    pairs.push([
      "today",
      `${deploymentName(current.config)}: ${current.replicasNeeded} replicas, ${current.gpus} GPUs, ${formatDollars(current.dollarsPerHour)} per hour` +
        (current.dollarsPerHour > best.dollarsPerHour
          ? `; the plan saves ${cheaper(current)}`
          : "; the plan saves nothing"),
    ]);
  return pairs;
}

function nothingFits({ nearestMiss }: PlanResult, paint: Paint): readonly string[] {
  const lines = ["", paint("bad", "nothing in the space keeps the SLO")];
  if (nearestMiss !== null)
    lines.push(`  nearest miss: ${deploymentName(nearestMiss.config)}`, `  ${nearestMiss.reason}`);
  return lines;
}

function sloText(check: SloCheck, paint: Paint): string {
  const share = check.term.toLowerCase().includes("fluidity");
  const show = share ? formatNumber : formatSeconds;
  const mark = check.met ? paint("good", "✓") : paint("bad", "✗");
  return `${mark} ${check.term} ${share ? "≥" : "≤"} ${show(check.limit)}: ${show(check.value)}`;
}

function candidateTable(
  { candidates, pareto }: PlanResult,
  { width, paint = unpainted, rows = 12 }: PlanLinesOptions,
): readonly string[] {
  if (candidates.length === 0) return [];
  const terms = candidates[0]?.slo.map((check) => check.term) ?? [];
  const number = (title: string, drop?: number) => ({
    title,
    align: "right" as const,
    ...(drop === undefined ? {} : { drop }),
  });
  const shown = candidates.slice(0, rows);
  const lines = table(
    [
      { title: "" },
      { title: "one replica", least: 24 },
      number("requests/s"),
      number("replicas", 3),
      number("GPUs"),
      number("$/h"),
      number("$/M tokens", 4),
      ...terms.map((term, i) => number(term, 5 + i)),
    ],
    shown.map((candidate, index) => [
      pareto.includes(index) ? "◆" : " ",
      deploymentName(candidate.config),
      formatNumber(candidate.capacityQps.value),
      String(candidate.replicasNeeded),
      String(candidate.gpus),
      candidate.dollarsPerHour.toFixed(2),
      candidate.dollarsPerMillionTokens.toFixed(3),
      ...candidate.slo.map((check) =>
        check.term.toLowerCase().includes("fluidity")
          ? formatNumber(check.value)
          : formatSeconds(check.value),
      ),
    ]),
    { width, paint },
  );
  const more = candidates.length - shown.length;
  return [
    "",
    ...lines,
    paint(
      "faint",
      `◆ no other is both cheaper per request and faster${more > 0 ? `; ${more} more in the report and --json` : ""}`,
    ),
  ];
}

function closing(result: PlanResult, width: number, paint: Paint): readonly string[] {
  const { robust, sensitivity, rejected, notModelled, launch } = result;
  const pairs: (readonly [string, string])[] = [];
  const changed = sensitivity.filter((entry) => !entry.sameWinner);
  for (const [i, entry] of changed.entries())
    pairs.push([
      i === 0 ? "would change it" : "",
      `${entry.change}: then ${entry.winner} at ${formatDollars(entry.dollarsPerHour)} per hour`,
    ]);
  if (sensitivity.length > changed.length)
    pairs.push([
      "would not",
      sensitivity
        .filter((entry) => entry.sameWinner)
        .map((entry) => entry.change)
        .join(", "),
    ]);
  if (result.best !== null)
    pairs.push([
      "robust",
      robust.sameWinner
        ? `the winner stays if predicted times are off by ${robust.errorPercent}%`
        : `within ${robust.errorPercent}% of prediction error ${robust.rivals.join(" or ")} could win`,
    ]);
  for (const { target, command } of launch) pairs.push([`run it (${target})`, command]);
  if (rejected.length > 0)
    pairs.push([
      "ruled out",
      `${rejected.length} before simulation, e.g. ${deploymentName(rejected[0]?.config as Candidate)}: ${rejected[0]?.reason}`,
    ]);
  if (notModelled.length > 0) pairs.push(["not modelled", notModelled.join("; ")]);
  pairs.push([
    "effort",
    `${result.judged} judged, ${result.pruned} pruned, ${result.simulations.toLocaleString("en-US")} simulations of ${result.simulatedRequests.toLocaleString("en-US")} requests (${formatNumber(result.simulatedGpuHours)} GPU hours) in ${formatSeconds(result.elapsedMs / 1000)}, seed ${result.seed}`,
  ]);
  return ["", ...wrappedFacts(pairs, width, paint)];
}

/** Facts whose values are wrapped under themselves. */
function wrappedFacts(
  pairs: readonly (readonly [string, string])[],
  width: number,
  paint: Paint,
): readonly string[] {
  const names = Math.max(0, ...pairs.map(([name]) => name.length));
  const cells = Math.max(30, Math.min(width, 110) - names - 4);
  const rows = pairs.flatMap(([name, value]) =>
    wrap(value, cells).map((line, i) => [i === 0 ? name : "", line] as const),
  );
  return facts(rows, { paint, indent: 2 });
}
