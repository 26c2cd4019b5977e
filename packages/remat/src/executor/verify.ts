/**
 * Proofs that a step does what its plan says. Memory: all of it but the resident part is filled with NaN canaries; after
 * each call no canary outside the buffers in use may be gone, and buffers that nobody needs any more are poisoned again, so
 * that a read of freed memory shows in the gradients (a ReLU makes zeros of NaN, which are as wrong). Gradients: against a
 * run that keeps everything, and against central differences of the loss.
 */
import { invariant } from "@millrace/core";
import type { Action, Plan } from "../problem/plan.ts";
import { type Problem, tensorOf } from "../problem/problem.ts";
import { residentKinds } from "./buffers.ts";
import { TrainingExecutor } from "./executor.ts";
import { measure } from "./measure.ts";
import { executorProblem } from "./problem.ts";
import type { Machine } from "./runnable.ts";
import type { CostTable } from "./table.ts";

/** What the canaries say. */
export interface MemoryProof {
  /** Words outside the buffers in use that something wrote. */
  readonly strayBytes: number;
  /** The first call that wrote one: the operator's index, -1 when there is none. */
  readonly strayOperator: number;
  /** Most bytes written of what was in use at one time, resident buffers included: at most the live peak. */
  readonly touchedPeakBytes: number;
}

/** Gradients of the plan against others. */
export interface GradientProof {
  /** Whether loss and every gradient have the bits of the run that keeps everything. */
  readonly identical: boolean;
  /** Largest difference to it, relative to the size of a parameter's gradient. */
  readonly largestDifference: number;
  /** Parameters compared with central differences, and the largest relative deviation. */
  readonly differenced: number;
  /** Parameters along whose gradients the loss turns within the shortest step that single precision can see. */
  readonly unresolved: number;
  readonly largestDeviation: number;
}

/** One forward and backward pass between canaries on the batch that was loaded; gradients are in their buffers afterwards. */
export function proveMemory(executor: TrainingExecutor): MemoryProof & { readonly loss: number } {
  const { memory, schedule, offsets, fixedEnd: first, report } = executor;
  const { buffers, calls } = schedule;
  const fixed = report.fixedBytes;
  memory.poison(first, memory.bytesTotal);
  let strayBytes = 0;
  let strayOperator = -1;
  let touchedPeakBytes = fixed;
  const moving = [...buffers.keys()].filter(
    (i) => !residentKinds.has(buffers[i]?.kind ?? "workspace"),
  );
  /** Ranges in use at an event, by address. */
  const rangesAt = (event: number) =>
    moving
      .filter((i) => (buffers[i]?.from as number) <= event && event <= (buffers[i]?.to as number))
      .map(
        (i) =>
          [offsets[i] as number, (offsets[i] as number) + (buffers[i]?.bytes as number)] as const,
      )
      .sort((a, b) => a[0] - b[0]);
  const word = (at: number): number => Math.ceil(at / 4) * 4;
  const loss = executor.gradients({
    after: (call, index) => {
      const next = calls[index + 1];
      // Calls of one event share its buffers: the last of them is where to look.
      if (next !== undefined && next.event === call.event) return;
      let at = first;
      let touched = fixed;
      const stray = (from: number, to: number): void => {
        if (to <= from) return;
        const words = memory.touched(from, to);
        if (words === 0) return;
        strayBytes += 4 * words;
        if (strayOperator < 0) strayOperator = call.operator;
        memory.poison(from, to);
      };
      for (const [from, to] of rangesAt(call.event)) {
        stray(at, from);
        const end = word(to);
        touched += Math.min(to - from, 4 * memory.touched(from, end));
        at = Math.max(at, end);
      }
      stray(at, memory.bytesTotal);
      touchedPeakBytes = Math.max(touchedPeakBytes, touched);
      const until = next?.event ?? Number.POSITIVE_INFINITY;
      for (const i of moving) {
        const { to, from, bytes } = buffers[i] as { to: number; from: number; bytes: number };
        if (from <= call.event && to < until && to >= call.event && Number.isFinite(until))
          memory.poison(offsets[i] as number, word((offsets[i] as number) + bytes));
      }
    },
  });
  return { strayBytes, strayOperator, touchedPeakBytes, loss };
}

/** The name of the implementation that does the same out of place and keeps its inputs. */
function plainName(name: string): string {
  const unsplit = name.replace(/\/split$/, "");
  return (
    { "output-in-place": "output", "input-in-place": "input", "in-place": "copy" }[unsplit] ??
    unsplit.replace(/-in-place(-second)?$/, "")
  );
}

/**
 * A plan that keeps everything and runs, for each operator, the implementation that `plan` runs first forward and the one
 * it runs backward, out of place. `problem` is of the plan, `full` of a table with every implementation.
 */
export function keepEverything(problem: Problem, plan: Plan, full: Problem): Plan {
  const n = problem.operators.length;
  const backward = new Map<number, string>();
  const forward = new Map<number, string>();
  for (const action of plan)
    if (action.kind === "backward")
      backward.set(
        action.operator,
        problem.operators[action.operator]?.backward[action.choice]?.name ?? "",
      );
    else if (action.kind === "forward" && !forward.has(action.operator))
      forward.set(
        action.operator,
        problem.operators[action.operator]?.forward[action.choice]?.name ?? "",
      );
  const actions: Action[] = [];
  const find = (list: readonly { readonly name?: string }[], name: string): number => {
    const plain = list.findIndex((entry) => entry.name === plainName(name));
    return plain >= 0 ? plain : 0;
  };
  for (let j = 0; j < n; j++) {
    const list = full.operators[j]?.forward ?? [];
    const back = full.operators[j]?.backward ?? [];
    const needs = back[find(back, backward.get(j) ?? "")]?.needs ?? [];
    const kept = needs.includes(tensorOf(full, `a${j}`));
    let choice = find(list, forward.get(j) ?? "");
    // A recomputed operator may have made what its backward pass needs by another implementation than at first.
    if (kept && list[choice]?.auxiliary === undefined)
      choice = list.findIndex((f) => f.auxiliary !== undefined && f.inPlace === undefined);
    actions.push({ kind: "forward", operator: j, choice });
  }
  for (let j = n - 1; j >= 0; j--) {
    const list = full.operators[j]?.backward ?? [];
    actions.push({ kind: "backward", operator: j, choice: find(list, backward.get(j) ?? "") });
  }
  return actions;
}

const norm = (v: Float32Array): number => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));

/** Parameters that are compared with central differences, and the least size of their gradients. */
const differenced = { most: 12, gradient: 2e-3 } as const;

/** Compares the gradients of the executor's plan for the batch that was loaded; both have the executor's parameters. */
export function proveGradients(machine: Machine, executor: TrainingExecutor): GradientProof {
  const loss = executor.gradients();
  const own = executor.parameters.map(({ gradient }) => executor.values(gradient).slice());
  const { graph, table, plan, optimizer, seed } = executor.setup;
  const full: CostTable = measure(machine, graph, { seconds: 0 });
  const reference = keepEverything(
    executorProblem(graph, table, optimizer),
    plan,
    executorProblem(graph, full, optimizer),
  );
  let identical = true;
  let largestDifference = 0;
  {
    using other = new TrainingExecutor(machine, {
      graph,
      table: full,
      plan: reference,
      optimizer,
      seed,
    });
    other.step = executor.step;
    executor.parameters.forEach(({ value }, i) => {
      other.values(other.parameters[i]?.value as number).set(executor.values(value));
    });
    executor.schedule.inputs.forEach((input, i) => {
      other.bytesOf(other.schedule.inputs[i] as number).set(executor.bytesOf(input));
    });
    identical = Object.is(other.gradients(), loss);
    other.parameters.forEach(({ gradient }, i) => {
      const theirs = other.values(gradient);
      const ours = own[i] as Float32Array;
      let difference = 0;
      for (let k = 0; k < ours.length; k++) {
        const d = (ours[k] as number) - (theirs[k] as number);
        if (d !== 0) identical = false;
        difference += d * d;
      }
      largestDifference = Math.max(largestDifference, Math.sqrt(difference) / (norm(ours) + 1e-6));
    });
  }
  return { identical, largestDifference, ...difference(executor, loss, own) };
}

/** Change of the loss that the shortest difference rests on, relative to the loss: its rounding is then a percent or less of it. */
const lossChange = 1.25e-5;
/** Most that two steps, one twice the other, may disagree for a difference to count, and how often both are doubled till then. */
const agreement = 0.01;
const doublings = 3;

/**
 * Central differences of the loss along the gradients of parameters spread over the depth of the graph. Single precision
 * sees no step below a certain length, and the loss may turn within it: batch norm over two or three values is all but a
 * staircase, and longer steps pass kinks of ReLU and pooling, which bias two lengths alike. So steps begin short and are
 * doubled until two lengths agree; what stays apart is reported as unresolved.
 */
function difference(
  executor: TrainingExecutor,
  loss: number,
  gradients: readonly Float32Array[],
): Pick<GradientProof, "differenced" | "unresolved" | "largestDeviation"> {
  const sizes = gradients.map(norm);
  const able = [...sizes.keys()].filter((i) => (sizes[i] as number) > differenced.gradient);
  const stride = Math.max(1, (able.length - 1) / (differenced.most - 1));
  const chosen = new Set(
    Array.from({ length: Math.min(able.length, differenced.most) }, (_, i) =>
      able.at(-1 - Math.round(i * stride)),
    ),
  );
  let largestDeviation = 0;
  let resolved = 0;
  for (const i of chosen) {
    if (i === undefined) continue;
    const g = gradients[i] as Float32Array;
    const size = sizes[i] as number;
    const w = executor.values(executor.parameters[i]?.value as number);
    invariant(w.length === g.length, "a gradient of another shape than its parameter");
    const before = w.slice();
    const shift = (distance: number): number => {
      for (let k = 0; k < w.length; k++)
        w[k] = (before[k] as number) + (distance * (g[k] as number)) / size;
      return executor.gradients();
    };
    // Parameters are rounded too: the gradient is asked about the step that was really made.
    const ratio = (reach: number): number => {
      const up = shift(reach);
      const raised = w.slice();
      const down = shift(-reach);
      let expected = 0;
      for (let k = 0; k < w.length; k++)
        expected += (g[k] as number) * ((raised[k] as number) - (w[k] as number));
      return (up - down) / expected;
    };
    const reach = (lossChange * Math.max(1, Math.abs(loss))) / size;
    let short = ratio(reach);
    let long = ratio(2 * reach);
    const apart = (): boolean => !(Math.abs(short - long) <= agreement * Math.abs(short));
    for (let k = 2; k <= doublings + 1 && apart(); k++) {
      short = long;
      long = ratio(2 ** k * reach);
    }
    w.set(before);
    if (apart()) continue;
    resolved += 1;
    largestDeviation = Math.max(largestDeviation, Math.abs(short - 1));
  }
  return { differenced: resolved, unresolved: chosen.size - resolved, largestDeviation };
}
