/**
 * Addresses of plans' buffers: how far the memory that a plan lies in is above the most that is alive at one event, which
 * no placement can be below. Every built-in graph at three batch sizes and three budgets, random graphs and residual
 * networks: plans that the placement was not chosen on. MEMORY_PLACE picks cases by a pattern such as
 * "batch 8|random|residual"; all of them take five minutes.
 */
import {
  buildModel,
  gpuLibrary,
  lifetimes,
  lower,
  models,
  type Problem,
  place,
  planMemory,
  randomProblem,
  residualProblem,
  rooflineCosts,
  stepSearch,
  storeAll,
} from "@millrace/remat";
import { median, report } from "./harness.ts";

const wanted = new RegExp(process.env["MEMORY_PLACE"] ?? "");
const fractions = [0.3, 0.5, 0.8];
/** Of one plan: whatever it is by then, its buffers have to be placed. */
const timeLimitSeconds = 1.5;

/** Sizes of a synthetic problem in MiB, so that alignment is nothing beside them. */
function scaled(problem: Problem): Problem {
  const times = 2 ** 20;
  return {
    ...problem,
    fixed: times * problem.fixed,
    operators: problem.operators.map((op) => ({
      ...op,
      output: times * op.output,
      parameterGradient: times * op.parameterGradient,
      forward: op.forward.map((choice) => ({
        ...choice,
        workspace: times * choice.workspace,
        ...(choice.auxiliary !== undefined && { auxiliary: times * choice.auxiliary }),
      })),
      backward: op.backward.map((choice) => ({
        ...choice,
        workspace: times * choice.workspace,
        ...(choice.split !== undefined && {
          split: { ...choice.split, workspace: times * choice.split.workspace },
        }),
      })),
    })),
  };
}

function* problems(): Generator<{ readonly kind: string; readonly problem: Problem }> {
  for (const name of Object.keys(models))
    for (const batch of [1, 8, 64]) {
      if (!wanted.test(`${name}, batch ${batch}`)) continue;
      const options = { library: gpuLibrary, costs: rooflineCosts("a100"), optimizerState: 1 };
      yield { kind: name, problem: lower(buildModel(name, { batch }), options) };
    }
  for (let seed = 1; seed <= 100; seed++)
    if (wanted.test("random")) yield { kind: "random", problem: scaled(randomProblem(seed, 8)) };
  for (const count of [50, 100])
    for (const seed of [11, 12, 13])
      if (wanted.test("residual"))
        yield { kind: "residual", problem: scaled(residualProblem(seed, count, "joint")) };
}

/** Of one plan: gaps of the greedy orders and of the search, percent of what moves, and seconds of the search. */
interface Figure {
  readonly greedy: number;
  readonly searched: number;
  readonly seconds: number;
}

const figures = new Map<string, Figure[]>();
for (const { kind, problem } of problems())
  for (const fraction of fractions) {
    const { peak } = storeAll(problem);
    const budget = problem.fixed + (peak - problem.fixed) * fraction;
    const { plan } = await planMemory(problem, budget, {
      effort: "low",
      minBudget: false,
      timeLimitSeconds,
    });
    if (plan === null) continue;
    const intervals = lifetimes(problem, plan);
    const greedy = place(intervals);
    const began = performance.now();
    const found = place(intervals, stepSearch);
    const seconds = (performance.now() - began) / 1000;
    const gap = (bytes: number): number => 100 * (bytes / found.peakBytes - 1);
    const figure = { greedy: gap(greedy.bytes), searched: gap(found.bytes), seconds };
    console.error(
      `${kind} (${problem.name}) at ${fraction}: ${intervals.length} buffers, greedy ${figure.greedy.toFixed(2)} %, searched ${figure.searched.toFixed(2)} %, ${seconds.toFixed(2)} s`,
    );
    const list = figures.get(kind) ?? [];
    figures.set(kind, list);
    list.push(figure);
  }

function summary(name: string, list: readonly Figure[]): void {
  const most = (of: (figure: Figure) => number): number => Math.max(...list.map(of));
  report(`${name}: plans`, list.length, "");
  report(`${name}: gaps of greedy orders, median`, median(list.map((f) => f.greedy)), "%");
  report(`${name}: gaps, median`, median(list.map((f) => f.searched)), "%");
  report(
    `${name}: gaps, most`,
    most((f) => f.searched),
    "%",
    5,
  );
  report(`${name}: search, median`, median(list.map((f) => f.seconds)), "s");
  report(
    `${name}: search, most`,
    most((f) => f.seconds),
    "s",
  );
}
for (const [kind, list] of figures) summary(kind, list);
summary("all plans", [...figures.values()].flat());
