/** Traces of models: millrace.training-trace/1, which millrace_trace.py writes from a torch model with measured times. */
import { MillraceError, parseJson } from "@millrace/core";
import { z } from "zod";
import type { TrainingGraph } from "../graph/graph.ts";
import type { CostModel } from "../graph/library.ts";
import { type ActivationFunction, activations, type Operation } from "../graph/operation.ts";

const dims = z
  .array(
    z
      .int()
      .min(1)
      .max(2 ** 40),
  )
  .max(8);
const name = z.string().max(4096);

const traceSchema = z.strictObject({
  format: z.literal("millrace.training-trace/1"),
  name,
  batch: z.int().min(1),
  type: z.enum(["f32", "f16", "bf16"]),
  device: z.string().optional(),
  inputs: z.array(z.object({ name, dims, type: z.enum(["f32", "f16", "bf16", "i32"]) })).max(1000),
  operators: z
    .array(
      z.strictObject({
        name,
        kind: z.string().max(200),
        attributes: z.record(z.string(), z.unknown()).optional(),
        /** Names of operators or network inputs. */
        inputs: z.array(name).max(10_000),
        dims,
        parameters: z.array(z.object({ name, dims })).max(10_000).optional(),
        forwardSeconds: z.number().min(0).optional(),
        backwardSeconds: z.number().min(0).optional(),
      }),
    )
    .min(1)
    .max(100_000),
});

const pair = z.tuple([z.number(), z.number()]);

/** Operations with attributes; those of `plain` have none, everything else is opaque. */
const withAttributes: Readonly<Record<string, z.ZodType>> = {
  conv2d: z.object({
    kernel: pair,
    stride: pair,
    padding: pair,
    groups: z.number(),
    bias: z.boolean(),
  }),
  linear: z.object({ bias: z.boolean(), flatten: z.boolean() }),
  maxPool: z.object({ kernel: pair, stride: pair, padding: pair }),
  averagePool: z.object({ kernel: pair, stride: pair, padding: pair }),
  dropout: z.object({ rate: z.number() }),
  embedding: z.object({ positions: z.boolean() }),
  batchNorm: z.object({ epsilon: z.number() }),
  layerNorm: z.object({ epsilon: z.number() }),
  rmsNorm: z.object({ epsilon: z.number() }),
};
const plain = new Set([
  "relu",
  "relu6",
  "gelu",
  "swiglu",
  "globalAveragePool",
  "add",
  "multiply",
  "concat",
  "softmax",
  "matmul",
  "crossEntropy",
]);

function operationOf(kind: string, attributes: unknown): Operation {
  const schema = Object.hasOwn(withAttributes, kind) ? withAttributes[kind] : undefined;
  if (schema !== undefined) {
    const parsed = schema.safeParse(attributes);
    if (parsed.success) return { kind, ...(parsed.data as object) } as Operation;
  }
  if (plain.has(kind)) return { kind } as Operation;
  if (Object.hasOwn(activations, kind))
    return { kind: "activation", function: kind as ActivationFunction };
  if (kind === "transpose" || kind === "slice" || kind === "pad")
    return { kind: "copy", what: kind };
  return { kind: "opaque", name: kind };
}

/** A trace: its graph, and its measured times where it has any. */
export interface Trace {
  readonly graph: TrainingGraph;
  /** Costs with measured times for default implementations; others scale with `otherwise`. Null without times. */
  readonly costs: ((otherwise: CostModel) => CostModel) | null;
}

/** `operators.2 (conv1).dims`; `the trace` for the whole of it. */
function pathText(raw: unknown, path: readonly PropertyKey[]): string {
  const [list, place] = path;
  const operators = (raw as { operators?: readonly { name?: unknown }[] } | null)?.operators;
  const named = list === "operators" && Array.isArray(operators) ? operators[Number(place)] : null;
  const called = typeof named?.name === "string" ? ` (${named.name})` : "";
  const text = path.map((key, i) => `${String(key)}${i === 1 ? called : ""}`).join(".");
  return text === "" ? "the trace" : text;
}

/** Reads a trace. Throws MillraceError CONFIG_SYNTAX or GRAPH_INVALID with the operator and what is wrong. */
export function parseTrace(text: string, file: string): Trace {
  const raw = parseJson(text, file);
  const parsed = traceSchema.safeParse(raw);
  if (!parsed.success) {
    const { path = [], message = "not a trace" } = parsed.error.issues[0] ?? {};
    throw new MillraceError("GRAPH_INVALID", `${pathText(raw, path)}: ${message}`, {
      at: { file },
      hint: "traces are written by millrace_trace.py",
    });
  }
  const trace = parsed.data;
  const inputs = new Map(trace.inputs.map((input, i) => [input.name, i]));
  const places = new Map<string, number>();
  const operators = trace.operators.map((op, j) => {
    const from: number[] = [];
    const reads: number[] = [];
    for (const source of op.inputs) {
      const place = places.get(source);
      const input = inputs.get(source);
      if (place !== undefined) from.push(place);
      else if (input !== undefined) reads.push(input);
      else
        throw new MillraceError(
          "GRAPH_INVALID",
          `operator ${j} (${op.name}) reads ${JSON.stringify(source)}, which nothing before it has made`,
          { at: { file } },
        );
    }
    if (places.has(op.name) || inputs.has(op.name))
      throw new MillraceError(
        "GRAPH_INVALID",
        `two things have the name ${JSON.stringify(op.name)}`,
        {
          at: { file },
        },
      );
    places.set(op.name, j);
    return {
      name: op.name,
      operation: operationOf(op.kind, op.attributes),
      inputs: from,
      reads,
      dims: op.dims,
      parameters: op.parameters ?? [],
    };
  });
  const graph: TrainingGraph = {
    name: trace.name,
    batch: trace.batch,
    type: trace.type,
    inputs: trace.inputs,
    operators,
  };
  const measured = trace.operators.some((op) => op.forwardSeconds !== undefined);
  const costs = (otherwise: CostModel): CostModel => ({
    name: `measured by the trace${trace.device === undefined ? "" : ` on ${trace.device}`}`,
    seconds: (of, j, direction, choice) => {
      const modelled = otherwise.seconds(of, j, direction, choice);
      const op = trace.operators[j];
      const time = direction === "forward" ? op?.forwardSeconds : op?.backwardSeconds;
      if (time === undefined) return modelled;
      // The trace measured one implementation; others are as much faster or slower as the model says.
      const reference = otherwise.seconds(of, j, direction, {
        ...choice,
        work: { ...choice.work, efficiency: 1 },
      });
      return reference > 0 ? (time * modelled) / reference : time;
    },
  });
  return { graph, costs: measured ? costs : null };
}
