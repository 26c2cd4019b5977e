/** `millrace cluster compare`: policies, allocators, loads and mixes side by side, paired job by job. */
import { join } from "node:path";
import {
  type AllocatorName,
  allocatorNames,
  type PolicyName,
  pairedDifference,
  policyNames,
} from "@millrace/cluster";
import { type Cell, type CellResult, cellWorker } from "@millrace/cluster/compare";
import type { Comparison } from "@millrace/cluster/report";
import { formatNumber, formatPercent, type Job, MillraceError, suggestion } from "@millrace/core";
import { ForkPool, writeFileAtomic } from "@millrace/core/node";
import { renderReport } from "@millrace/report";
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
import { table } from "../../ui/table.ts";

interface CompareFlags extends ClusterFlags {
  readonly policies?: string;
  readonly allocators?: string;
  readonly rates?: readonly number[];
  readonly seeds?: number;
  readonly workers?: number;
  readonly sweep?: readonly string[];
  readonly out?: string;
}

/** One line of the answer: a policy at a load with an allocator, over the seeds. */
interface Line {
  readonly policy: PolicyName;
  readonly rate: number | null;
  /** Values of the flags that are swept. */
  readonly settings: Readonly<Record<string, string>>;
  readonly allocator: AllocatorName;
  readonly avgJctHours: number;
  readonly p99JctHours: number;
  readonly makespanHours: number;
  readonly restarts: number;
  readonly gpuUtilisation: number;
  /** Against the first allocator: mean JCT ratio (above 1: faster), its lowest and highest over the seeds. */
  readonly ratio: number;
  readonly ratioLow: number;
  readonly ratioHigh: number;
  readonly differenceHours: number;
  readonly halfWidthHours: number;
  readonly faster: number;
  readonly slower: number;
}

export async function clusterCompareCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as CompareFlags;
  const policies = names(flags.policies ?? "fifo,srtf", policyNames, "--policies");
  const allocators = names(
    flags.allocators ?? "proportional,tune,waterfill",
    allocatorNames,
    "--allocators",
  );
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
  const lines = groups.flatMap(({ policy, rate, point: { settings } }, g) =>
    allocators.map((allocator): Line => {
      const own = Array.from({ length: seeds }, (_, s) => results.get(`${g} ${allocator} ${s}`));
      const base = Array.from({ length: seeds }, (_, s) =>
        results.get(`${g} ${allocators[0]} ${s}`),
      );
      const pairs = own.flatMap((result, s) => {
        const first = base[s];
        return result && first ? [pairedDifference(first.jct, result.jct)] : [];
      });
      const over = (of: (result: CellResult) => number) =>
        average(own.map((r) => (r ? of(r) : Number.NaN)));
      const ratios = pairs.map((pair) => pair.ratio);
      return {
        policy,
        rate,
        settings,
        allocator,
        avgJctHours: over((r) => r.summary.jct.mean),
        p99JctHours: over((r) => r.summary.jct.p99),
        makespanHours: over((r) => r.summary.makespanHours),
        restarts: over((r) => r.summary.restarts),
        gpuUtilisation: over((r) => r.summary.utilisation.gpus),
        ratio: average(ratios),
        ratioLow: Math.min(...ratios),
        ratioHigh: Math.max(...ratios),
        differenceHours: average(pairs.map((pair) => pair.meanHours)),
        halfWidthHours: average(pairs.map((pair) => pair.halfWidthHours)) / Math.sqrt(seeds),
        faster: average(pairs.map((pair) => pair.faster)),
        slower: average(pairs.map((pair) => pair.slower)),
      };
    }),
  );
  if (flags.out !== undefined)
    await writeReport(session, flags.out, comparisonOf(groups, allocators, seeds, lines, results));
  if (session.json)
    session.printJson({ schema: "millrace.cluster-compare/1", base: allocators[0], seeds, lines });
  else print(session, lines, allocators[0] ?? "", seeds);
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

function comparisonOf(
  groups: readonly Group[],
  allocators: readonly AllocatorName[],
  seeds: number,
  lines: readonly Line[],
  results: ReadonlyMap<string, CellResult>,
): Comparison {
  return {
    base: allocators[0] ?? "",
    seeds,
    lines: lines.map((line, i) => ({
      setting: settingOf(groups[Math.floor(i / allocators.length)] as Group),
      allocator: line.allocator,
      meanHours: line.avgJctHours,
      p99Hours: line.p99JctHours,
      makespanHours: line.makespanHours,
      restarts: line.restarts,
      ratio: { value: line.ratio, low: line.ratioLow, high: line.ratioHigh },
      differenceHours: line.differenceHours,
      halfWidthHours: line.halfWidthHours,
    })),
    runs: groups.map((group, g) => ({
      setting: settingOf(group),
      runs: allocators.flatMap((allocator) => {
        const result = results.get(`${g} ${allocator} 0`);
        if (result === undefined) return [];
        const { jct, course } = result;
        // A reference plan is on no servers.
        const drawn = course === null || course.segments.length === 0 ? null : course;
        const cluster = shapeOf(group.flags);
        return [{ allocator, jct, course: drawn === null ? null : { ...drawn, cluster } }];
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

function print(session: Session, lines: readonly Line[], base: string, seeds: number): void {
  const right = (title: string, drop?: number) =>
    ({ title, align: "right", ...(drop === undefined ? {} : { drop }) }) as const;
  const swept = lines.some((line) => Object.keys(line.settings).length > 0);
  session.print(
    table(
      [
        { title: "policy" },
        right("jobs/h"),
        ...(swept ? [{ title: "setting", least: 10 }] : []),
        { title: "allocator" },
        right("mean JCT h"),
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
        line.rate === null ? "–" : formatNumber(line.rate),
        ...(swept
          ? [
              Object.entries(line.settings)
                .map(([k, v]) => `${k} ${v}`)
                .join(", "),
            ]
          : []),
        line.allocator,
        formatNumber(line.avgJctHours),
        formatNumber(line.p99JctHours),
        formatNumber(line.makespanHours),
        formatNumber(line.restarts),
        formatPercent(line.gpuUtilisation),
        line.allocator === base
          ? "–"
          : `${formatNumber(line.ratio)} (${formatNumber(line.ratioLow)} … ${formatNumber(line.ratioHigh)})`,
        line.allocator === base
          ? "–"
          : `${formatNumber(line.differenceHours)} ± ${formatNumber(line.halfWidthHours)}`,
        line.allocator === base
          ? "–"
          : `${formatPercent(line.faster)} / ${formatPercent(line.slower)}`,
      ]),
      session,
    ),
  );
  session.note(
    `mean over ${seeds} ${seeds === 1 ? "trace" : "traces"}; "times ${base}" is its mean JCT over this one's, differences are paired job by job (95 %)`,
  );
}

function names<T extends string>(text: string, known: readonly T[], flag: string): readonly T[] {
  return text.split(",").map((part) => {
    const name = part.trim();
    const found = known.find((k) => k === name);
    if (found !== undefined) return found;
    throw new MillraceError("USAGE", `${flag}: there is no ${name}`, {
      hint: suggestion(name, known) ?? `there are ${known.join(", ")}`,
    });
  });
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
