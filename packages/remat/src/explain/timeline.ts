/** The report of a plan: its memory over the step beside that of storing everything, and the fate of each tensor. */
import { formatNumber } from "@millrace/core";
import { FULL_WIDTH, lineChart, type ReportContext, type ReportDocument } from "@millrace/report";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { changeOfTime, chartUnits } from "./chart-units.ts";
import { explainPlan } from "./explain.ts";

/** What a report is made of. */
export interface TimelineInput {
  readonly problem: Problem;
  readonly plan: Plan;
  /** The plan that stores everything, of a problem of the same operators. */
  readonly before: { readonly problem: Problem; readonly plan: Plan };
  readonly budget: number;
  /** How far from optimal, in words. */
  readonly proof: string;
  /** Whether sizes are bytes and times seconds. */
  readonly physical: boolean;
  /** Where times come from, and whether they are modelled, in words. */
  readonly costs: string | null;
  readonly context?: ReportContext;
}

/** Memory at the start, in the middle and at the end of each action. */
function curve(problem: Problem, plan: Plan): { x: number; y: number }[] {
  const points: { x: number; y: number }[] = [];
  simulate(problem, plan, {
    onEvent: ({ start, end, before, during, after }) => {
      if (end === start) return;
      points.push(
        { x: start, y: before },
        { x: (start + end) / 2, y: during },
        { x: end, y: after },
      );
    },
  });
  return points;
}

/** Writes the document. */
export function timelineReport(input: TimelineInput): ReportDocument {
  const { problem, plan, before, budget, physical } = input;
  const was = simulate(before.problem, before.plan);
  const is = simulate(problem, plan);
  if (!was.valid || !is.valid) throw new Error("a report of a plan that cannot run");
  const tensors = explainPlan(problem, plan);
  const units = chartUnits(physical, Math.max(was.peak, is.peak), Math.max(was.time, is.time));
  const { size, time } = units;
  const scaled = (points: { x: number; y: number }[]) =>
    points.map(({ x, y }) => ({ x: units.timeAt(x), y: units.sizeAt(y) }));
  const chart = lineChart({
    title: "Memory over one training step",
    description:
      "Memory of storing everything and of the plan, and the budget, over the time of a step.",
    width: FULL_WIDTH,
    x: { label: units.timeLabel("time") },
    y: { label: units.sizeLabel("memory") },
    series: [
      { name: "store everything", points: scaled(curve(before.problem, before.plan)) },
      { name: "plan", points: scaled(curve(problem, plan)) },
      {
        name: "budget",
        points: scaled([
          { x: 0, y: budget },
          { x: Math.max(was.time, is.time), y: budget },
        ]),
      },
    ],
  });
  const count = (fate: string): number => tensors.filter((t) => t.fate === fate).length;
  return {
    kind: "Memory plan",
    title: problem.name,
    subtitle: `${problem.operators.length} operators within ${size(budget)}`,
    ...(input.context?.command !== undefined && { command: input.context.command }),
    madeWith: [
      ...(input.costs === null ? [] : [{ label: "times", value: input.costs }]),
      ...(input.context?.version === undefined
        ? []
        : [{ label: "version", value: input.context.version }]),
    ],
    verdict: {
      tone: "good",
      headline: `${formatNumber(was.peak / is.peak)}x less memory for ${changeOfTime(is.time, was.time)}`,
      detail: input.proof,
      figures: [
        { label: "peak, everything stored", value: size(was.peak) },
        { label: "peak of the plan", value: size(is.peak), note: `budget ${size(budget)}` },
        { label: "step, everything stored", value: time(was.time) },
        { label: "step of the plan", value: time(is.time) },
      ],
    },
    sections: [
      {
        id: "timeline",
        heading: "Before and after",
        blocks: [
          {
            kind: "charts",
            columns: 1,
            charts: [{ title: "Memory over one training step", svg: chart }],
          },
        ],
      },
      {
        id: "tensors",
        heading: "What becomes of each tensor",
        blocks: [
          {
            kind: "prose",
            text: `${count("kept")} tensors are kept for backward, ${count("recomputed")} are made again, ${count("overwritten")} are overwritten in place.`,
          },
          {
            kind: "table",
            columns: [
              { header: "tensor", kind: "code" },
              { header: "operator", kind: "text" },
              { header: "size", kind: "text" },
              { header: "fate", kind: "text" },
              { header: "made", kind: "number" },
              { header: "time of making it again", kind: "text" },
            ],
            rows: tensors.slice(0, 200).map((t) => ({
              cells: [
                t.tensor,
                t.operator,
                size(t.size),
                t.fate,
                t.made,
                t.recomputeTime > 0 ? time(t.recomputeTime) : "–",
              ],
            })),
            ...(tensors.length > 200 && { note: `the largest 200 of ${tensors.length}` }),
          },
        ],
      },
    ],
    footnote: "Peak and times are what the simulator says of the plan; run it to measure them.",
  };
}
