/** Steps that this machine's memory cannot hold are refused before anything is allocated for them. */
import { totalmem } from "node:os";
import { formatBytes, MillraceError } from "@millrace/core";
import { inputBytes, outputBytes, parameterBytes, type TrainingGraph } from "../graph/graph.ts";
import { type Optimizer, stateCount } from "./optimizer.ts";

/** Bytes that this process may hold at most: the machine's, or what its control group is granted. */
export function hostBytes(): number {
  const granted = process.constrainedMemory();
  return granted > 0 ? Math.min(granted, totalmem()) : totalmem();
}

/** What every plan of a graph needs: all that is resident, the gradients of parameters, and each operator's operands. */
export function leastBytes(graph: TrainingGraph, optimizer: Optimizer): number {
  const copies = 2 + stateCount(optimizer);
  const parameters = graph.operators.reduce((sum, op) => sum + parameterBytes(graph, op), 0);
  const operands = graph.operators.map((op, j) =>
    [j, ...op.inputs].reduce((sum, i) => sum + outputBytes(graph, i), 0),
  );
  const largest = operands.reduce((most, bytes) => Math.max(most, bytes), 0);
  return inputBytes(graph) + Math.max(copies * parameters, (copies - 1) * parameters + largest);
}

/** Throws NOTHING_FITS naming what needs `bytes` where the machine has fewer. */
export function refuseBeyondHost(what: string, bytes: number, hint: string): void {
  const limit = hostBytes();
  if (bytes > limit)
    throw new MillraceError(
      "NOTHING_FITS",
      `${what} needs ${formatBytes(bytes)}, and this machine has ${formatBytes(limit)}`,
      { hint },
    );
}
