/** Lines of a comparison: what one allocator under one policy did, beside the base. */
import type { AllocatorName, PolicyName } from "@millrace/cluster";
import { allocatorNames, pairedDifference, policyNames } from "@millrace/cluster";
import type { CellResult } from "@millrace/cluster/compare";
import { formatNumber, formatPercent, MillraceError, suggestion } from "@millrace/core";
import type { Session } from "../session.ts";
import { formatWhole } from "../ui/numbers.ts";
import { table } from "../ui/table.ts";

/** What the others are compared with: an allocator under each line's own policy, or under one policy for all. */
export interface Base {
  readonly policy: PolicyName | null;
  readonly allocator: AllocatorName;
}

/** `fifo/proportional`, or as in --base. */
export function baseName({ policy, allocator }: Base): string {
  return policy === null ? allocator : `${policy}/${allocator}`;
}

/** Reads --base `allocator` or `policy/allocator`; both must be among those that are run. Throws USAGE. */
export function parseBase(
  text: string | undefined,
  policies: readonly PolicyName[],
  allocators: readonly AllocatorName[],
): Base {
  const [first = "", second] = (text ?? allocators[0] ?? "").split("/");
  const name = second ?? first;
  const policy = second === undefined ? null : policies.find((known) => known === first);
  const allocator = allocators.find((known) => known === name);
  if (policy !== undefined && allocator !== undefined) return { policy, allocator };
  const known = policy === undefined ? policies : allocators;
  const wrong = policy === undefined ? first : name;
  throw new MillraceError("USAGE", `--base ${text}: ${wrong} is not compared here`, {
    hint: suggestion(wrong, known) ?? `there are ${known.join(", ")}`,
  });
}

/** Names of a comma-separated flag. Throws USAGE. */
export function namesOf<T extends string>(
  text: string,
  known: readonly T[],
  flag: string,
): readonly T[] {
  return text.split(",").map((part) => {
    const name = part.trim();
    const found = known.find((k) => k === name);
    if (found !== undefined) return found;
    throw new MillraceError("USAGE", `${flag}: there is no ${name}`, {
      hint: suggestion(name, known) ?? `there are ${known.join(", ")}`,
    });
  });
}

/** Policies and allocators of the flags. Throws USAGE. */
export function comparedNames(flags: { policies?: string; allocators?: string }): {
  readonly policies: readonly PolicyName[];
  readonly allocators: readonly AllocatorName[];
} {
  return {
    policies: namesOf(flags.policies ?? "fifo,srtf", policyNames, "--policies"),
    allocators: namesOf(
      flags.allocators ?? "proportional,tune,waterfill",
      allocatorNames,
      "--allocators",
    ),
  };
}

/** A policy at a load with an allocator; means over the seeds. */
export interface Line {
  readonly policy: PolicyName;
  readonly rate: number | null;
  /** Values of the flags that are swept. */
  readonly settings: Readonly<Record<string, string>>;
  readonly allocator: AllocatorName;
  /** It is what the others are compared with. */
  readonly isBase: boolean;
  readonly avgJctHours: number;
  readonly p50JctHours: number;
  readonly p95JctHours: number;
  readonly p99JctHours: number;
  readonly p999JctHours: number;
  readonly makespanHours: number;
  readonly restarts: number;
  readonly preemptions: number;
  readonly gpuUtilisation: number;
  readonly cpuUtilisation: number;
  /** 99th percentile of completion time over the time at the share without waiting. */
  readonly finishTimeFairness: number;
  readonly decisionMs: { readonly mean: number; readonly p99: number };
  /** Against the base: mean JCT ratio (above 1: faster), its lowest and highest over the seeds. */
  readonly ratio: number;
  readonly ratioLow: number;
  readonly ratioHigh: number;
  readonly differenceHours: number;
  readonly halfWidthHours: number;
  readonly faster: number;
  readonly slower: number;
}

/** The line of these runs, one per seed, against the base's on the same traces. */
export function lineOf(
  place: Pick<Line, "policy" | "rate" | "settings" | "allocator" | "isBase">,
  own: readonly CellResult[],
  base: readonly CellResult[],
): Line {
  const pairs = own.flatMap((result, s) => {
    const first = base[s];
    return first === undefined ? [] : [pairedDifference(first.jct, result.jct)];
  });
  const over = (of: (result: CellResult["summary"]) => number) =>
    average(own.map(({ summary }) => of(summary)));
  const ratios = pairs.map((pair) => pair.ratio);
  return {
    ...place,
    avgJctHours: over((s) => s.jct.mean),
    p50JctHours: over((s) => s.jct.p50),
    p95JctHours: over((s) => s.jct.p95),
    p99JctHours: over((s) => s.jct.p99),
    p999JctHours: over((s) => s.jct.p999),
    makespanHours: over((s) => s.makespanHours),
    restarts: over((s) => s.restarts),
    preemptions: over((s) => s.preemptions),
    gpuUtilisation: over((s) => s.utilisation.gpus),
    cpuUtilisation: over((s) => s.utilisation.cpus),
    finishTimeFairness: over((s) => s.fairness.worst),
    decisionMs: { mean: over((s) => s.decisionMs.mean), p99: over((s) => s.decisionMs.p99) },
    ratio: average(ratios),
    ratioLow: Math.min(...ratios),
    ratioHigh: Math.max(...ratios),
    differenceHours: average(pairs.map((pair) => pair.meanHours)),
    halfWidthHours: average(pairs.map((pair) => pair.halfWidthHours)) / Math.sqrt(pairs.length),
    faster: average(pairs.map((pair) => pair.faster)),
    slower: average(pairs.map((pair) => pair.slower)),
  };
}

/** The table, and what its last columns mean. */
export function printLines(
  session: Session,
  lines: readonly Line[],
  base: string,
  seeds: number,
): void {
  const right = (title: string, drop?: number) =>
    ({ title, align: "right", ...(drop === undefined ? {} : { drop }) }) as const;
  const swept = lines.some((line) => Object.keys(line.settings).length > 0);
  const loads = lines.some((line) => line.rate !== null && !("rate" in line.settings));
  session.print(
    table(
      [
        { title: "policy" },
        ...(loads ? [right("jobs/h")] : []),
        ...(swept ? [{ title: "setting", least: 10 }] : []),
        { title: "allocator" },
        right("mean JCT h"),
        right("p50 h", 7),
        right("p95 h", 8),
        right("p99 h", 3),
        right("makespan h", 4),
        right("restarts", 2),
        right("GPUs held", 5),
        right(`times ${base}`),
        right("difference h", 1),
        right("faster / slower", 6),
      ],
      lines.map((line) => [
        line.policy,
        ...(loads ? [formatNumber(line.rate ?? Number.NaN)] : []),
        ...(swept
          ? [
              Object.entries(line.settings)
                .map(([name, value]) => `${name} ${value}`)
                .join(", "),
            ]
          : []),
        line.allocator,
        formatNumber(line.avgJctHours),
        formatNumber(line.p50JctHours),
        formatNumber(line.p95JctHours),
        formatNumber(line.p99JctHours),
        formatNumber(line.makespanHours),
        formatWhole(Math.round(line.restarts)),
        formatPercent(line.gpuUtilisation),
        ...(line.isBase ? ["–", "–", "–"] : differences(line, seeds)),
      ]),
      session,
    ),
  );
  const traces = seeds === 1 ? "one trace" : `mean over ${seeds} traces`;
  session.note(
    `${traces}; "times ${base}" is its mean JCT over this one's${seeds === 1 ? "" : " (lowest … highest trace)"}, differences are paired job by job (± 95 %)`,
  );
}

function differences(line: Line, seeds: number): readonly string[] {
  const range = ` (${formatNumber(line.ratioLow)} … ${formatNumber(line.ratioHigh)})`;
  return [
    `${formatNumber(line.ratio)}${seeds === 1 ? "" : range}`,
    `${formatNumber(line.differenceHours)} ± ${formatNumber(line.halfWidthHours)}`,
    `${formatPercent(line.faster)} / ${formatPercent(line.slower)}`,
  ];
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
