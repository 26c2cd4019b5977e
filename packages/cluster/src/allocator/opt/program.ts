/**
 * The first stage of Synergy-OPT (Synergy §4.2): which choice each job gets from the CPUs and memory of all servers
 * together. Jobs with the same choices are one class, so the program's size does not depend on the number of jobs. Every
 * choice keeps the proportional speed, so that needs no constraint.
 */
import { type LinearSolver, ProgramBuilder } from "@millrace/core/solver";
import type { JobState } from "../../contracts.ts";
import type { Choice, SpeedOptions } from "../../profile/options.ts";

/** Jobs that have the same choices. */
export interface JobClass {
  readonly options: SpeedOptions;
  readonly jobs: readonly JobState[];
}

/** How many jobs of each class get each of its choices, and what no allocation can exceed. */
export interface ClassCounts {
  /** A row per class, a column per choice; whole numbers that sum to the class's jobs. */
  readonly counts: readonly (readonly number[])[];
  /** Summed speed that no allocation exceeds: the linear relaxation's optimum. */
  readonly bound: number;
}

/** What the servers have together. */
export interface Pool {
  readonly cpus: number;
  readonly hostBytes: number;
}

/** Classes in the order of their first job. */
export function classesOf(jobs: readonly JobState[]): readonly JobClass[] {
  const classes = new Map<SpeedOptions, JobState[]>();
  for (const job of jobs) {
    const members = classes.get(job.options);
    if (members === undefined) classes.set(job.options, [job]);
    else members.push(job);
  }
  return [...classes].map(([options, members]) => ({ options, jobs: members }));
}

/** How far below the bound rounding may stay before whole numbers are searched for. */
const goodEnough = 1e-3;

/**
 * Solves the relaxation and rounds it down to whole jobs; where that loses more than 0.1 %, searches whole numbers for a
 * bounded number of nodes. Null when the solver finds nothing (floors that do not fit the pool).
 */
export async function solveClasses(
  classes: readonly JobClass[],
  pool: Pool,
  solver: LinearSolver,
): Promise<ClassCounts | null> {
  const program = buildProgram(classes, pool);
  const relaxed = await solver.solve(program, { relaxed: true });
  if (relaxed.solution === null) return null;
  const bound = -relaxed.objective;
  const rounded = wholeCounts(classes, relaxed.solution, pool);
  if (total(classes, rounded) >= bound * (1 - goodEnough)) return { counts: rounded, bound };
  const whole = await solver.solve(program, { relativeGap: goodEnough / 2, maxNodes: 100 });
  if (whole.solution === null) return { counts: rounded, bound };
  const searched = wholeCounts(classes, whole.solution, pool);
  const better = total(classes, searched) > total(classes, rounded);
  return { counts: better ? searched : rounded, bound };
}

/** Bytes go in as units of a GB, so that the numbers of the program are of one size. */
const GB = 1e9;

function buildProgram(classes: readonly JobClass[], pool: Pool) {
  const builder = new ProgramBuilder();
  const columns = classes.map(({ options, jobs }) =>
    options.choices.map((choice) => builder.column(-choice.speed, 0, jobs.length, true)),
  );
  const each = (visit: (choice: Choice, column: number) => void): void => {
    for (const [k, { options }] of classes.entries())
      for (const [c, choice] of options.choices.entries()) visit(choice, columns[k]?.[c] ?? 0);
  };
  each((choice, column) => builder.term(column, choice.cpus));
  builder.row(Number.NEGATIVE_INFINITY, pool.cpus);
  each((choice, column) => builder.term(column, choice.hostBytes / GB));
  builder.row(Number.NEGATIVE_INFINITY, pool.hostBytes / GB);
  for (const [k, { jobs }] of classes.entries()) {
    for (const column of columns[k] ?? []) builder.term(column, 1);
    builder.row(jobs.length, jobs.length);
  }
  return builder.build();
}

/** Whole counts below the solution, the jobs that are left at their floors and then raised while there is room. */
function wholeCounts(
  classes: readonly JobClass[],
  solution: Float64Array,
  pool: Pool,
): readonly (readonly number[])[] {
  let column = 0;
  let cpus = pool.cpus;
  let bytes = pool.hostBytes;
  const counts = classes.map(({ options, jobs }) => {
    const row = options.choices.map(() => Math.floor((solution[column++] ?? 0) + 1e-6));
    const floor = options.choices.indexOf(options.floor);
    row[floor]! += jobs.length - row.reduce((sum, n) => sum + n, 0);
    options.choices.forEach((choice, c) => {
      cpus -= choice.cpus * (row[c] as number);
      bytes -= choice.hostBytes * (row[c] as number);
    });
    return row;
  });
  for (;;) {
    let best: { k: number; from: number; to: number } | null = null;
    let most = 1e-9;
    classes.forEach(({ options: { choices } }, k) => {
      const row = counts[k] as number[];
      choices.forEach((a, from) => {
        if ((row[from] as number) === 0) return;
        choices.forEach((b, to) => {
          if (b.speed - a.speed <= most) return;
          if (b.cpus - a.cpus > cpus + 1e-9 || b.hostBytes - a.hostBytes > bytes + 1) return;
          most = b.speed - a.speed;
          best = { k, from, to };
        });
      });
    });
    if (best === null) return counts;
    const { k, from, to } = best as { k: number; from: number; to: number };
    const { choices } = (classes[k] as JobClass).options;
    const [a, b] = [choices[from] as Choice, choices[to] as Choice];
    const row = counts[k] as number[];
    row[from]!--;
    row[to]!++;
    cpus -= b.cpus - a.cpus;
    bytes -= b.hostBytes - a.hostBytes;
  }
}

function total(classes: readonly JobClass[], counts: readonly (readonly number[])[]): number {
  let sum = 0;
  classes.forEach(({ options }, k) => {
    options.choices.forEach((choice, c) => {
      sum += choice.speed * (counts[k]?.[c] ?? 0);
    });
  });
  return sum;
}
