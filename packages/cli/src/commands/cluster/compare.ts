/** `millrace cluster compare`: policies, allocators, loads and mixes side by side, paired job by job. */
import { join } from "node:path";
import type { AllocatorName, PolicyName } from "@millrace/cluster";
import { type Cell, type CellResult, cellWorker } from "@millrace/cluster/compare";
import type { Comparison } from "@millrace/cluster/report";
import { formatNumber, type Job, MillraceError } from "@millrace/core";
import { ForkPool, writeFileAtomic } from "@millrace/core/node";
import { renderReport } from "@millrace/report";
import {
  type Base,
  baseName,
  comparedNames,
  type Line,
  lineOf,
  parseBase,
  printLines,
} from "../../cluster/compare-lines.ts";
import {
  type ClusterFlags,
  experimentOf,
  modelsOf,
  shapeOf,
  traceOf,
} from "../../cluster/flags.ts";
import { type SweepPoint, sweepPoints } from "../../cluster/sweep.ts";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";

interface CompareFlags extends ClusterFlags {
  readonly policies?: string;
  readonly allocators?: string;
  readonly base?: string;
  readonly rates?: readonly number[];
  readonly seeds?: number;
  readonly workers?: number;
  readonly sweep?: readonly string[];
  readonly out?: string;
}

export async function clusterCompareCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as CompareFlags;
  const { policies, allocators } = comparedNames(flags);
  const base = parseBase(flags.base, policies, allocators);
  const replay = flags.trace !== undefined;
  const points = sweepPoints(flags.sweep ?? []);
  const swept = points.some((point) => "rate" in point.settings);
  if (swept && flags.rates !== undefined)
    throw new MillraceError("USAGE", "--rates and --sweep rate are the same; give one of them");
  const rates: readonly (number | null)[] = replay ? [null] : (flags.rates ?? [flags.rate ?? 7]);
  const seeds = replay ? 1 : (flags.seeds ?? 3);
  const groups = policies.flatMap((policy) =>
    points.flatMap((point) =>
      rates.map((given): Group => {
        const rate = swept ? (point.flags.rate ?? null) : given;
        const over = { ...point.flags, ...(rate === null ? {} : { rate }) };
        return { policy, point, rate, flags: { ...flags, ...over, policy } };
      }),
    ),
  );
  const cells: Job<Cell>[] = [];
  for (const [g, group] of groups.entries()) {
    const models = modelsOf(group.flags);
    for (const allocator of allocators)
      for (let s = 0; s < seeds; s++) {
        const own = { ...group.flags, allocator, seed: (flags.seed ?? 1) + s };
        cells.push({
          id: `${g} ${allocator} ${s}`,
          input: {
            workload: { trace: traceOf(own, models) },
            models: [...models],
            experiment: experimentOf(own),
            course: flags.out !== undefined && s === 0,
          },
        });
      }
  }
  const results = await runCells(session, cells, flags.workers);
  const perPolicy = groups.length / policies.length;
  const baseGroup = (g: number): number =>
    base.policy === null ? g : policies.indexOf(base.policy) * perPolicy + (g % perPolicy);
  const runsOf = (g: number, allocator: AllocatorName): readonly CellResult[] =>
    Array.from({ length: seeds }, (_, s) => results.get(`${g} ${allocator} ${s}`) as CellResult);
  const lines = groups.flatMap(({ policy, rate, point: { settings } }, g) =>
    allocators.map((allocator): Line => {
      const isBase = allocator === base.allocator && baseGroup(g) === g;
      return lineOf(
        { policy, rate, settings, allocator, isBase },
        runsOf(g, allocator),
        runsOf(baseGroup(g), base.allocator),
      );
    }),
  );
  if (flags.out !== undefined) {
    const baseRun = (g: number) => runsOf(baseGroup(g), base.allocator)[0] as CellResult;
    const comparison = comparisonOf(groups, { base, allocators, seeds, lines, results, baseRun });
    await writeReport(session, flags.out, comparison);
  }
  if (session.json)
    session.printJson({ schema: "millrace.cluster-compare/1", base: baseName(base), seeds, lines });
  else printLines(session, lines, baseName(base), seeds);
  return 0;
}

/** A policy under a setting at a load. */
interface Group {
  readonly policy: PolicyName;
  readonly point: SweepPoint;
  readonly rate: number | null;
  readonly flags: CompareFlags;
}

function settingOf({ policy, rate, point }: Group): string {
  const load = rate === null || "rate" in point.settings ? "" : `${formatNumber(rate)} jobs/h`;
  return [policy, load, point.label].filter((part) => part !== "").join(", ");
}

interface Compared {
  readonly base: Base;
  readonly allocators: readonly AllocatorName[];
  readonly seeds: number;
  readonly lines: readonly Line[];
  readonly results: ReadonlyMap<string, CellResult>;
  /** The base's run of a group's first trace. */
  readonly baseRun: (group: number) => CellResult;
}

function comparisonOf(
  groups: readonly Group[],
  { base, allocators, seeds, lines, results, baseRun }: Compared,
): Comparison {
  return {
    base: baseName(base),
    seeds,
    lines: lines.map((line, i) => ({
      setting: settingOf(groups[Math.floor(i / allocators.length)] as Group),
      allocator: line.allocator,
      isBase: line.isBase,
      meanHours: line.avgJctHours,
      p50Hours: line.p50JctHours,
      p95Hours: line.p95JctHours,
      p99Hours: line.p99JctHours,
      makespanHours: line.makespanHours,
      restarts: line.restarts,
      ratio: { value: line.ratio, low: line.ratioLow, high: line.ratioHigh },
      differenceHours: line.differenceHours,
      halfWidthHours: line.halfWidthHours,
    })),
    runs: groups.map((group, g) => ({
      setting: settingOf(group),
      base: baseRun(g).jct,
      runs: allocators.flatMap((allocator) => {
        const result = results.get(`${g} ${allocator} 0`);
        if (result === undefined) return [];
        const { jct, course } = result;
        // A reference plan is on no servers.
        const drawn = course === null || course.segments.length === 0 ? null : course;
        const cluster = shapeOf(group.flags);
        const isBase =
          lines[g * allocators.length + allocators.indexOf(allocator)]?.isBase === true;
        return [{ allocator, isBase, jct, course: drawn === null ? null : { ...drawn, cluster } }];
      }),
    })),
  };
}

async function writeReport(
  session: Session,
  folder: string,
  comparison: Comparison,
): Promise<void> {
  const { compareReport } = await import("@millrace/cluster/report");
  const path = join(folder, "report.html");
  const document = compareReport(comparison, { command: commandLine(), version });
  writeFileAtomic(path, renderReport(document));
  session.note(`wrote ${path}`);
}

async function runCells(
  session: Session,
  cells: readonly Job<Cell>[],
  workers: number | undefined,
): Promise<ReadonlyMap<string, CellResult>> {
  const progress = session.progress();
  const results = new Map<string, CellResult>();
  await session.interruptible(async (signal) => {
    await using pool = new ForkPool<Cell, CellResult>({
      module: cellWorker,
      ...(workers === undefined ? {} : { workers }),
    });
    for await (const outcome of pool.run(cells, signal)) {
      if (!outcome.ok) throw new Error(outcome.error);
      results.set(outcome.id, outcome.value);
      progress.update({ phase: "simulating", done: results.size, total: cells.length });
    }
    signal.throwIfAborted();
  });
  progress.end();
  return results;
}
