/** A training graph's operators as kernels see them, and what makes two of them alike. */
import { MillraceError } from "@millrace/core";
import { elements, type TrainingGraph } from "../graph/graph.ts";
import type { OperandShape } from "./kernel.ts";
import type { OperatorKind, OperatorShape } from "./operators/operator.ts";
import { executableKinds, operatorKind } from "./operators/table.ts";

/** Extents, fastest first, of an activation of the given dimensions: images as [W, H, N, C], all else reversed. */
export function activationExtents(dims: readonly number[]): readonly number[] {
  if (dims.length !== 4) return [...dims].reverse();
  const [n, c, h, w] = dims as readonly [number, number, number, number];
  return [w, h, n, c];
}

/** Classes of logits: the second dimension of pixels' [N, C, H, W], the last of all others. */
export function classesOf(dims: readonly number[]): number {
  return (dims.length === 4 ? dims[1] : dims.at(-1)) ?? 1;
}

/** Type and extents of a network input: images like activations, tokens and labels as one list. */
export function inputShape(graph: TrainingGraph, index: number): OperandShape {
  const input = graph.inputs[index];
  if (input === undefined) throw new RangeError(`${graph.name} has no network input ${index}`);
  return input.type === "i32"
    ? { type: "i32", ne: [elements(input.dims)] }
    : { type: "f32", ne: activationExtents(input.dims) };
}

/** Operator `index` of the graph. */
export function operatorShape(graph: TrainingGraph, index: number): OperatorShape {
  const operator = graph.operators[index];
  if (operator === undefined) throw new RangeError(`${graph.name} has no operator ${index}`);
  return {
    operation: operator.operation,
    inputs: operator.inputs.map((i) => activationExtents(graph.operators[i]?.dims ?? [])),
    reads: operator.reads.map((i) => inputShape(graph, i)),
    output: activationExtents(operator.dims),
    parameters: operator.parameters.map(({ dims }) => [...dims].reverse()),
  };
}

/** How the operator would run in single precision; null when it cannot. */
function runnableKind(graph: TrainingGraph, index: number): OperatorKind | null {
  const inputs = graph.operators[index]?.inputs ?? [];
  return new Set(inputs).size === inputs.length ? operatorKind(operatorShape(graph, index)) : null;
}

/** Operators that a refusal names; of the rest it says how many. */
const named = 12;

/** How the operator runs. Throws MODEL_UNSUPPORTED naming all of the graph that cannot, and what can be run. */
export function kindOf(graph: TrainingGraph, index: number): OperatorKind {
  const kind = runnableKind(graph, index);
  if (kind !== null && graph.type === "f32") return kind;
  const hint = `plans can still be made for it; what runs: ${executableKinds.join(", ")}`;
  if (graph.type !== "f32")
    throw new MillraceError(
      "MODEL_UNSUPPORTED",
      `${graph.name} is of type ${graph.type}, and only f32 can be executed here`,
      { hint },
    );
  const without = graph.operators.flatMap(({ name, operation }, j) =>
    runnableKind(graph, j) === null ? [`${name} (${operation.kind})`] : [],
  );
  const more = without.length > named ? ` and ${without.length - named} more` : "";
  throw new MillraceError(
    "MODEL_UNSUPPORTED",
    `operators of ${graph.name} cannot be executed here: ${without.slice(0, named).join(", ")}${more}`,
    { hint },
  );
}

/** Equal for operators that cost the same. */
export function signatureOf(shape: OperatorShape): string {
  const { operation, inputs, reads, output, parameters } = shape;
  return JSON.stringify([operation, inputs, reads.map((r) => [r.type, r.ne]), output, parameters]);
}
