/** The answer of a plan for people: the winner and why, the runners-up, what would change it, what was left out. */
import { formatDollars, formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import type { Candidate, JudgedCandidate, PlanResult, SloCheck } from "@millrace/sim";
import { candidateName } from "@millrace/sim/search";
import { formatWhole } from "./numbers.ts";
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
    ...(result.best === null
      ? nothingFits(result, paint)
      : winner(result, result.best, width, paint)),
    ...candidateTable(result, options),
    ...closing(result, width, paint),
  ];
}

function heading({ model, load, workload, slo }: PlanResult, paint: Paint): readonly string[] {
  const peak = load.peakFactor === 1 ? "" : `, peaks of ${load.peakFactor}×`;
  const spare =
    load.spareReplicas === 0
      ? ""
      : `, ${load.spareReplicas} spare replica${load.spareReplicas === 1 ? "" : "s"}`;
  return [
    `${paint("strong", shortName(model))} at ${formatNumber(load.qps)} requests/s${peak}${spare}`,
    paint("faint", `${workload}; SLO: ${slo.join(", ")}`),
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
    `${paint("good", "best")}  ${paint("strong", candidateName(best.config))}`,
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
    pairs.push([pairs.length === 0 ? "why" : "", schedulerText(best, scheduler)]);
  if (current !== null)
    pairs.push([
      "today",
      `${candidateName(current.config)}: ${current.replicasNeeded} replicas, ${current.gpus} GPUs, ${formatDollars(current.dollarsPerHour)} per hour` +
        (current.dollarsPerHour > best.dollarsPerHour
          ? `; the plan saves ${cheaper(current)}`
          : "; the plan saves nothing"),
    ]);
  return pairs;
}

/** What the scheduler brings on the same device; nothing when the intervals overlap. */
function schedulerText(best: JudgedCandidate, other: JudgedCandidate): string {
  if (other.capacityQps.high >= best.capacityQps.low)
    return `${other.config.scheduler} does as well within the error of the search (${formatNumber(other.capacityQps.value)} requests/s)`;
  const gain = formatPercent(best.capacityQps.value / other.capacityQps.value - 1);
  return `${gain} more requests/s per replica than ${candidateName(other.config)}`;
}

function nothingFits({ nearestMiss }: PlanResult, paint: Paint): readonly string[] {
  const lines = ["", paint("bad", "nothing in the space keeps the SLO")];
  if (nearestMiss !== null)
    lines.push(`  nearest miss: ${candidateName(nearestMiss.config)}`, `  ${nearestMiss.reason}`);
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
  const shown = bestOfEachKind(candidates).slice(0, rows);
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
    shown.map((candidate) => [
      pareto.includes(candidates.indexOf(candidate)) ? "◆" : " ",
      candidateName(candidate.config),
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
      `the best of each hardware and scheduler; ◆ no other is both cheaper and faster${more > 0 ? `; ${more} more in --json and the report` : ""}`,
    ),
  ];
}

/** The first, and so best, candidate of each hardware, scheduler and KV manager. */
function bestOfEachKind(candidates: readonly JudgedCandidate[]): readonly JudgedCandidate[] {
  const kinds = new Map<string, JudgedCandidate>();
  for (const candidate of candidates) {
    const { chunkSize: _, batchSizeCap: __, ...kind } = candidate.config;
    const key = JSON.stringify(kind);
    if (!kinds.has(key)) kinds.set(key, candidate);
  }
  return [...kinds.values()];
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
  if (robust.capacityQps !== null) {
    const { low, high } = robust.capacityQps;
    const { errorPercent } = robust;
    const off =
      errorPercent > 90
        ? `${formatNumber(1 + errorPercent / 100)} times as long, or as short`
        : `off by ${errorPercent}% either way`;
    pairs.push([
      "a replica carries",
      `${formatNumber(low)} to ${formatNumber(high)} requests/s if step times are ${off}`,
    ]);
  }
  for (const { target, command } of launch) pairs.push([`run it (${target})`, command]);
  if (rejected.length > 0)
    pairs.push([
      "ruled out",
      `${rejected.length}, e.g. ${candidateName(rejected[0]?.config as Candidate)}: ${rejected[0]?.reason}`,
    ]);
  if (notModelled.length > 0)
    pairs.push([
      "not modelled",
      `${notModelled.length} things that the report lists, e.g. ${notModelled[0]?.replace(/:.*/, "")}`,
    ]);
  pairs.push([
    "effort",
    `${result.judged} judged, ${result.pruned} pruned, ${formatWhole(result.simulations)} simulations of ${formatWhole(result.simulatedRequests)} requests (${formatNumber(result.simulatedGpuHours)} GPU hours) in ${formatSeconds(result.elapsedMs / 1000)}, seed ${result.seed}`,
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
