/** `millrace cluster compare`: policies, allocators, loads and mixes side by side, paired job by job. */
import {
  type AllocatorName,
  allocatorNames,
  type PolicyName,
  pairedDifference,
  policyNames,
} from "@millrace/cluster";
import { type Cell, type CellResult, cellWorker } from "@millrace/cluster/compare";
import { formatNumber, formatPercent, type Job, MillraceError, suggestion } from "@millrace/core";
import { ForkPool } from "@millrace/core/node";
import { type ClusterFlags, experimentOf, modelsOf, traceOf } from "../../cluster/flags.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";

interface CompareFlags extends ClusterFlags {
  readonly policies?: string;
  readonly allocators?: string;
  readonly rates?: readonly number[];
  readonly seeds?: number;
  readonly workers?: number;
}

/** One line of the answer: a policy at a load with an allocator, over the seeds. */
interface Line {
  readonly policy: PolicyName;
  readonly rate: number | null;
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
  const models = modelsOf(flags);
  const policies = names(flags.policies ?? "fifo,srtf", policyNames, "--policies");
  const allocators = names(
    flags.allocators ?? "proportional,tune,waterfill",
    allocatorNames,
    "--allocators",
  );
  const replay = flags.trace !== undefined;
  const rates: readonly (number | null)[] = replay ? [null] : (flags.rates ?? [flags.rate ?? 7]);
  const seeds = replay ? 1 : (flags.seeds ?? 3);
  const groups = policies.flatMap((policy) => rates.map((rate) => ({ policy, rate })));
  const cells: Job<Cell>[] = [];
  for (const [g, { policy, rate }] of groups.entries())
    for (const allocator of allocators)
      for (let s = 0; s < seeds; s++) {
        const seed = (flags.seed ?? 1) + s;
        const own = { ...flags, policy, allocator, seed, ...(rate === null ? {} : { rate }) };
        cells.push({
          id: `${g} ${allocator} ${s}`,
          input: {
            workload: { trace: traceOf(own, models) },
            models: [...models],
            experiment: experimentOf(own),
          },
        });
      }
  const results = await runCells(session, cells, flags.workers);
  const lines = groups.flatMap(({ policy, rate }, g) =>
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
  if (session.json)
    session.printJson({ schema: "millrace.cluster-compare/1", base: allocators[0], seeds, lines });
  else print(session, lines, allocators[0] ?? "", seeds);
  return 0;
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
  session.print(
    table(
      [
        { title: "policy" },
        right("jobs/h"),
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
