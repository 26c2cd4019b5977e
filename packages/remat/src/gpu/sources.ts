/** What an operator reads: outputs of operators, then network inputs. */
import { elementBytes, elements, outputBytes, type TrainingGraph } from "../graph/graph.ts";

/** Shape of operand `position`. */
export function sourceDims(
  graph: TrainingGraph,
  index: number,
  position: number,
): readonly number[] {
  const op = graph.operators[index];
  const input = op?.inputs[position];
  if (input !== undefined) return graph.operators[input]?.dims ?? [];
  return graph.inputs[op?.reads[position - (op?.inputs.length ?? 0)] ?? -1]?.dims ?? [];
}

/** Bytes of all operands. */
export function sourceBytes(graph: TrainingGraph, index: number): number {
  const op = graph.operators[index];
  if (op === undefined) return 0;
  return (
    op.inputs.reduce((sum, u) => sum + outputBytes(graph, u), 0) +
    op.reads.reduce((sum, i) => {
      const input = graph.inputs[i];
      return sum + (input === undefined ? 0 : elements(input.dims) * elementBytes[input.type]);
    }, 0)
  );
}
