/** Cost tables as files: JSON to plan and run with, CSV for other tools and eyes. */
import { existsSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import { z } from "zod";
import type { TrainingGraph } from "../graph/graph.ts";
import { operatorShape, signatureOf } from "./shapes.ts";
import type { CostTable } from "./table.ts";

const bytes = z.int().min(0);
const seconds = z.number().min(0);
const need = z.union([
  z.object({ kind: z.literal("input"), position: z.int().min(0) }),
  z.object({ kind: z.literal("output") }),
  z.object({ kind: z.literal("auxiliary") }),
]);
const forward = z.strictObject({
  name: z.string(),
  workspaceBytes: bytes,
  auxiliaryBytes: z.exactOptional(bytes),
  inPlace: z.exactOptional(z.int().min(0)),
  seconds,
});
const backward = z.strictObject({
  name: z.string(),
  workspaceBytes: bytes,
  needs: z.array(need),
  inPlace: z.exactOptional(z.int().min(0)),
  split: z.exactOptional(z.strictObject({ workspaceBytes: bytes, frees: z.array(z.int().min(0)) })),
  seconds,
});
const schema = z.strictObject({
  schema: z.literal("millrace.memory-costs/1"),
  machine: z.string(),
  threads: z.int().min(1),
  operators: z.record(
    z.string(),
    z.strictObject({ forward: z.array(forward).min(1), backward: z.array(backward).min(1) }),
  ),
  updates: z.strictObject({ sgd: seconds, adamw: seconds }),
});

/** The table of a file, or null when there is no such file. Throws PROFILE_INVALID naming what is wrong in it. */
export function readCostTable(path: string): CostTable | null {
  if (!existsSync(path)) return null;
  const text = readTextFile(path);
  const invalid = (why: string, cause?: unknown): MillraceError =>
    new MillraceError("PROFILE_INVALID", `${path} is no cost table: ${why}`, {
      hint: "remove the file: it is measured again and written anew",
      at: { file: path },
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid("it is not JSON", error);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw invalid(`${issue?.path.join(".")}: ${issue?.message}`);
}

/** Writes a table, completely or not at all. */
export function writeCostTable(path: string, table: CostTable): void {
  writeFileAtomic(path, `${JSON.stringify(table)}\n`);
}

/** A graph's rows as CSV: `operator,direction,implementation,seconds,workspace_bytes,auxiliary_bytes`. */
export function costsCsv(graph: TrainingGraph, table: CostTable): string {
  const lines = ["operator,direction,implementation,seconds,workspace_bytes,auxiliary_bytes"];
  graph.operators.forEach(({ name }, j) => {
    const rows = table.operators[signatureOf(operatorShape(graph, j))];
    for (const row of rows?.forward ?? [])
      lines.push(
        [
          name,
          "forward",
          row.name,
          row.seconds,
          row.workspaceBytes,
          row.auxiliaryBytes ?? 0,
        ].join(),
      );
    for (const row of rows?.backward ?? [])
      lines.push([name, "backward", row.name, row.seconds, row.workspaceBytes, 0].join());
  });
  return `${lines.join("\n")}\n`;
}
