/**
 * What the executor's implementations need and take on one machine: plain data, made by measuring (measure.ts), kept in a
 * file, and the library and the cost model of plans that are meant to run.
 */
import { MillraceError } from "@millrace/core";
import type { TrainingGraph } from "../graph/graph.ts";
import type {
  BackwardImplementation,
  CostModel,
  ForwardImplementation,
  Need,
  OperatorLibrary,
} from "../graph/library.ts";
import type { Optimizer } from "./optimizer.ts";
import { operatorShape, signatureOf } from "./shapes.ts";

/** A forward implementation, measured. */
export interface ForwardRow {
  readonly name: string;
  readonly workspaceBytes: number;
  readonly auxiliaryBytes?: number;
  readonly inPlace?: number;
  /** Median seconds of one run. */
  readonly seconds: number;
}

/** A backward implementation, measured. */
export interface BackwardRow {
  readonly name: string;
  readonly workspaceBytes: number;
  readonly needs: readonly Need[];
  readonly inPlace?: number;
  readonly split?: { readonly workspaceBytes: number; readonly frees: readonly number[] };
  readonly seconds: number;
}

/** Implementations of one operator; plans name them by index. */
export interface OperatorRows {
  readonly forward: readonly ForwardRow[];
  readonly backward: readonly BackwardRow[];
}

/** Measured implementations by operator signature. */
export interface CostTable {
  readonly schema: "millrace.memory-costs/1";
  /** Processor and CPU library, for the reader. */
  readonly machine: string;
  readonly threads: number;
  readonly operators: Readonly<Record<string, OperatorRows>>;
  /** Seconds an optimizer takes per parameter element, the norm of its gradient included. */
  readonly updates: Readonly<Record<Optimizer["kind"], number>>;
}

/** Seconds of one update of so many parameter elements. */
export function updateSeconds(table: CostTable, kind: Optimizer["kind"], elements: number): number {
  return table.updates[kind] * elements;
}

function rowsOf(table: CostTable, graph: TrainingGraph, operator: number): OperatorRows {
  const rows = table.operators[signatureOf(operatorShape(graph, operator))];
  if (rows === undefined)
    throw new MillraceError(
      "PROFILE_INVALID",
      `the cost table has no operator like ${graph.operators[operator]?.name} of ${graph.name}`,
      { hint: "measure the model on this machine: millrace memory run measures what is missing" },
    );
  return rows;
}

/** The executor's implementations as a library of the planner. */
export function executorLibrary(table: CostTable): OperatorLibrary {
  const work = { class: "memory", flops: 0, bytes: 0 } as const;
  return {
    name: `ggml, ${table.machine}, ${table.threads} threads`,
    implementations: (graph, operator) => {
      const rows = rowsOf(table, graph, operator);
      return {
        forward: rows.forward.map(
          ({ seconds: _, ...row }): ForwardImplementation => ({ ...row, work }),
        ),
        backward: rows.backward.map(
          ({ seconds: _, ...row }): BackwardImplementation => ({ ...row, work }),
        ),
      };
    },
  };
}

/** The table's times. */
export function measuredCosts(table: CostTable): CostModel {
  return {
    name: `measured on ${table.machine}, ${table.threads} threads`,
    seconds: (graph, operator, direction, { name }) => {
      const row = rowsOf(table, graph, operator)[direction].find((entry) => entry.name === name);
      if (row === undefined)
        throw new MillraceError(
          "PROFILE_INVALID",
          `the cost table has no ${direction} implementation ${name} of ${graph.operators[operator]?.name}`,
        );
      return row.seconds;
    },
  };
}
