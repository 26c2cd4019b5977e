/** From an ONNX model to a training graph: shape rules, views seen through, and a loss at the end. */
import { InvariantError, MillraceError } from "@millrace/core";
import type { ElementType, TrainingGraph } from "../graph/graph.ts";
import { GraphBuilder, type Value } from "../models/builder.ts";
import { constantRules } from "./onnx-constants.ts";
import type { OnnxModel, OnnxNode } from "./onnx-model.ts";
import { operatorRules } from "./onnx-rules.ts";

/** What a name stands for: something computed, or numbers known in advance. */
export type Known =
  | { readonly kind: "value"; readonly value: Value }
  | {
      readonly kind: "constant";
      readonly dims: readonly number[];
      /** Null where the file's values were skipped: a weight. */
      readonly values: readonly number[] | null;
      readonly name: string;
    };

/** What a rule gets. */
export interface RuleContext {
  readonly builder: GraphBuilder;
  readonly node: OnnxNode;
  readonly known: (position: number) => Known | undefined;
  /** The operand, which must be computed. */
  readonly value: (position: number) => Value;
  /** The operand, which must be a weight or constant. */
  readonly weight: (position: number) => Extract<Known, { kind: "constant" }>;
  readonly ints: (name: string, otherwise: readonly number[]) => readonly number[];
  readonly int: (name: string, otherwise: number) => number;
  readonly float: (name: string, otherwise: number) => number;
  readonly text: (name: string, otherwise: string) => string;
  /** Throws GRAPH_INVALID naming the node. */
  readonly fail: (message: string) => never;
}

/** How sizes that the file leaves open are filled in. */
export interface ImportOptions {
  readonly batch: number;
  /** Symbols of other dimensions by name; `tokens` also fills symbols without one. */
  readonly symbols?: Readonly<Record<string, number>>;
}

const elementTypes: Readonly<Record<number, ElementType>> = {
  1: "f32",
  10: "f16",
  16: "bf16",
  6: "i32",
  7: "i32",
};

function inputDims(
  dims: readonly (number | string)[],
  name: string,
  options: ImportOptions,
): number[] {
  return dims.map((dim, i) => {
    if (typeof dim === "number" && dim > 0) return dim;
    // The first dimension is the batch, named or not.
    if (i === 0) return options.batch;
    const symbol = typeof dim === "string" ? dim : "";
    const size = options.symbols?.[symbol] ?? options.symbols?.["tokens"];
    if (size !== undefined) return size;
    throw new MillraceError(
      "GRAPH_INVALID",
      `input ${name}: the size of dimension ${i} (${symbol === "" ? "unnamed" : symbol}) is open`,
      { hint: "give it with --tokens" },
    );
  });
}

/**
 * The training graph of a model; a cross-entropy loss is put at its first output unless it ends in one. Throws
 * MillraceError GRAPH_INVALID naming node and byte, or MODEL_UNSUPPORTED listing every operator without a rule.
 */
export function importOnnx(model: OnnxModel, file: string, options: ImportOptions): TrainingGraph {
  const builder = new GraphBuilder();
  const names = new Map<string, Known>();
  for (const [name, tensor] of model.initializers)
    names.set(name, { kind: "constant", dims: tensor.dims, values: tensor.values, name });
  let type: ElementType = "f32";
  for (const input of model.inputs) {
    if (names.has(input.name)) continue;
    const of = elementTypes[input.type] ?? "f32";
    if (of !== "i32") type = of;
    const value = builder.input(input.name, inputDims(input.dims, input.name, options), of);
    names.set(input.name, { kind: "value", value });
  }
  const missing = new Map<string, number>();
  for (const { type: op } of model.nodes)
    if (operatorRules[op] === undefined && constantRules[op] === undefined)
      missing.set(op, (missing.get(op) ?? 0) + 1);
  if (missing.size > 0)
    throw new MillraceError(
      "MODEL_UNSUPPORTED",
      `no rule for ${[...missing].map(([op, count]) => `${op} (${count})`).join(", ")}`,
      {
        at: { file },
        hint: "trace the model with millrace_trace.py instead, which takes operators without a rule as they are",
      },
    );
  let last: Value | null = null;
  for (const node of model.nodes) {
    const fail = (message: string): never => {
      throw new MillraceError(
        "GRAPH_INVALID",
        `${node.type} ${JSON.stringify(node.name)} (byte ${node.offset}): ${message}`,
        { at: { file } },
      );
    };
    const known = (position: number): Known | undefined => {
      const name = node.inputs[position];
      if (name === undefined || name === "") return undefined;
      return names.get(name) ?? fail(`reads ${JSON.stringify(name)}, which nothing has made`);
    };
    const context: RuleContext = {
      builder,
      node,
      known,
      value: (position) => {
        const found = known(position);
        return found?.kind === "value"
          ? found.value
          : fail(`operand ${position} is not computed from an input`);
      },
      weight: (position) => {
        const found = known(position);
        return found?.kind === "constant" ? found : fail(`operand ${position} is no weight`);
      },
      ints: (name, otherwise) => node.attributes.get(name)?.ints ?? otherwise,
      int: (name, otherwise) => node.attributes.get(name)?.i ?? otherwise,
      float: (name, otherwise) => node.attributes.get(name)?.f ?? otherwise,
      text: (name, otherwise) => node.attributes.get(name)?.s ?? otherwise,
      fail,
    };
    const made = guarded(context, () => outputsOf(context));
    for (const [i, output] of node.outputs.entries()) {
      const what = made[i];
      if (what !== undefined && output !== "") names.set(output, what);
    }
    const first = made[0];
    if (first?.kind === "value") last = first.value;
  }
  const result = model.outputs
    .map((name) => names.get(name))
    .find((what) => what?.kind === "value");
  const value = result?.kind === "value" ? result.value : last;
  if (value === null || value.input >= 0)
    throw new MillraceError("GRAPH_INVALID", "nothing is computed from the inputs", {
      at: { file },
    });
  if (value.dims.length !== 1 || value.dims[0] !== 1) {
    const labels = builder.input("labels", value.dims.slice(0, -1), "i32");
    builder.crossEntropy("loss", value, labels);
  }
  return pruned(builder.build(model.graph === "" ? "onnx" : model.graph, options.batch, type));
}

/** What a node makes: numbers where its operands are known in advance, operators otherwise. */
function outputsOf(context: RuleContext): readonly Known[] {
  const { node, fail } = context;
  const folded = constantRules[node.type]?.(context) ?? null;
  if (folded !== null) return [folded];
  const made = operatorRules[node.type]?.(context) ?? fail("its operands are not known in advance");
  return made.map((value): Known => ({ kind: "value", value }));
}

/** Shapes that no rule foresaw end in the builder; the node is to blame. */
function guarded<T>({ fail }: RuleContext, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof InvariantError) return fail(error.message);
    throw error;
  }
}

/** Without operators that the loss does not depend on. */
function pruned(graph: TrainingGraph): TrainingGraph {
  const n = graph.operators.length;
  const used = new Uint8Array(n);
  used[n - 1] = 1;
  for (let j = n - 1; j >= 0; j--)
    if (used[j] === 1) for (const u of graph.operators[j]?.inputs ?? []) used[u] = 1;
  const place = new Map<number, number>();
  for (let j = 0; j < n; j++) if (used[j] === 1) place.set(j, place.size);
  return {
    ...graph,
    operators: graph.operators
      .filter((_, j) => used[j] === 1)
      .map((op) => ({ ...op, inputs: op.inputs.map((u) => place.get(u) as number) })),
  };
}
