/** Files of planning problems: millrace.remat-cases/1, read with checks of every number, and written. */
import { MillraceError, parseJson } from "@millrace/core";
import { z } from "zod";
import type { Problem, ProblemOperator } from "./problem.ts";
import { tensorName, tensorOf } from "./problem.ts";

const amount = z.number().min(0);
const index = z.int().min(0);

const operatorSchema = z.object({
  name: z.string().optional(),
  inputs: z.array(index),
  out: amount,
  pg: amount.optional(),
  fwd: z
    .array(
      z.object({
        name: z.string().optional(),
        t: amount,
        ws: amount.optional(),
        again: amount.nullish(),
        aux: amount.nullish(),
        inplace: z.int().nullish(),
      }),
    )
    .min(1),
  bwd: z
    .array(
      z.object({
        name: z.string().optional(),
        t: amount,
        ws: amount.optional(),
        need: z.array(z.string()),
        inplace: z.int().nullish(),
        split: z.object({ ws: amount, frees: z.array(z.string()) }).nullish(),
      }),
    )
    .min(1),
});

const problemSchema = z.object({
  name: z.string().optional(),
  fixed: amount,
  budget: amount.optional(),
  ops: z.array(operatorSchema).min(1),
});

const fileSchema = z.object({
  format: z.literal("millrace.remat-cases/1"),
  cases: z.array(z.object({ name: z.string(), problem: problemSchema })).min(1),
});

/** A problem of a file with the budget that stands beside it. */
export interface ProblemCase {
  readonly name: string;
  readonly problem: Problem;
  /** Undefined when the file gives none. */
  readonly budget: number | undefined;
}

type WrittenOperator = z.infer<typeof operatorSchema>;

/** `cases[0].problem.ops[2].fwd`. */
function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .replace(/^\./, "");
}

function failure(file: string, path: string, message: string): MillraceError {
  return new MillraceError("CONFIG_INVALID", `${path}: ${message}`, {
    at: { file },
    hint: "the format millrace.remat-cases/1 is described in docs/memory.md",
  });
}

function operatorOf(
  written: WrittenOperator,
  j: number,
  problem: Problem,
  fail: (field: string, message: string) => MillraceError,
): ProblemOperator {
  for (const [i, u] of written.inputs.entries())
    if (u >= j)
      throw fail(`inputs[${i}]`, `operator ${u} is not before operator ${j} (${written.name})`);
  const anInput = (field: string, u: number): number => {
    if (!written.inputs.includes(u)) throw fail(field, `operator ${u} is no input of it`);
    return u;
  };
  const tensors = (field: string, names: readonly string[]): number[] => {
    const ids = names.map((name, i) => {
      const id = tensorOf(problem, name);
      if (id < 0) throw fail(`${field}[${i}]`, `no tensor ${JSON.stringify(name)}`);
      return id;
    });
    return [...new Set(ids)];
  };
  return {
    name: written.name ?? `op${j}`,
    inputs: written.inputs,
    output: written.out,
    parameterGradient: written.pg ?? 0,
    forward: written.fwd.map((f, c) => ({
      ...(f.name !== undefined && { name: f.name }),
      time: f.t,
      workspace: f.ws ?? 0,
      ...(f.again != null && { again: f.again }),
      ...(f.aux != null && { auxiliary: f.aux }),
      ...(f.inplace != null && { inPlace: anInput(`fwd[${c}].inplace`, f.inplace) }),
    })),
    backward: written.bwd.map((p, c) => {
      const needs = tensors(`bwd[${c}].need`, p.need);
      const split = p.split ?? undefined;
      const frees = split === undefined ? [] : tensors(`bwd[${c}].split.frees`, split.frees);
      for (const tensor of frees)
        if (!needs.includes(tensor)) throw fail(`bwd[${c}].split.frees`, "frees what need lacks");
      return {
        ...(p.name !== undefined && { name: p.name }),
        time: p.t,
        workspace: p.ws ?? 0,
        needs,
        ...(p.inplace != null && { inPlace: anInput(`bwd[${c}].inplace`, p.inplace) }),
        ...(split !== undefined && { split: { workspace: split.ws, frees } }),
      };
    }),
  };
}

/**
 * The problems of a file's text. Throws MillraceError CONFIG_SYNTAX (line and column) or CONFIG_INVALID (path of the
 * value, and the operator where there is one).
 */
export function parseProblemFile(text: string, file: string): ProblemCase[] {
  const parsed = fileSchema.safeParse(parseJson(text, file));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = pathText(issue?.path ?? []);
    throw failure(file, path === "" ? "the file" : path, issue?.message ?? "not of the format");
  }
  return parsed.data.cases.map(({ name, problem: written }, c) => {
    const operators: ProblemOperator[] = [];
    // Tensor names need the number of operators before the operators are made.
    const problem = { name, fixed: written.fixed, operators: written.ops as unknown[] } as Problem;
    for (const [j, op] of written.ops.entries())
      operators.push(
        operatorOf(op, j, problem, (field, message) =>
          failure(file, `cases[${c}].problem.ops[${j}].${field}`, message),
        ),
      );
    return { name, problem: { name, fixed: written.fixed, operators }, budget: written.budget };
  });
}

/** The text of a file with these problems; `parseProblemFile` reads it back. */
export function writeProblemFile(cases: readonly ProblemCase[]): string {
  const written = cases.map(({ name, problem, budget }) => ({
    name,
    problem: {
      fixed: problem.fixed,
      ...(budget !== undefined && { budget }),
      ops: problem.operators.map((op) => ({
        name: op.name,
        inputs: op.inputs,
        out: op.output,
        fwd: op.forward.map((f) => ({
          ...(f.name !== undefined && { name: f.name }),
          t: f.time,
          ws: f.workspace,
          ...(f.again !== undefined && { again: f.again }),
          ...(f.auxiliary !== undefined && { aux: f.auxiliary }),
          ...(f.inPlace !== undefined && { inplace: f.inPlace }),
        })),
        bwd: op.backward.map((p) => ({
          ...(p.name !== undefined && { name: p.name }),
          t: p.time,
          ws: p.workspace,
          need: p.needs.map((tensor) => tensorName(problem, tensor)),
          ...(p.inPlace !== undefined && { inplace: p.inPlace }),
          ...(p.split !== undefined && {
            split: {
              ws: p.split.workspace,
              frees: p.split.frees.map((tensor) => tensorName(problem, tensor)),
            },
          }),
        })),
        pg: op.parameterGradient,
      })),
    },
  }));
  return `${JSON.stringify({ format: "millrace.remat-cases/1", cases: written })}\n`;
}
