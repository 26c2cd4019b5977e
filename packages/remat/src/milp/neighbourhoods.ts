/**
 * Large-neighbourhood search: most binaries are fixed to what the best plan does, the solver is given the rest. First those
 * on which the plan and the relaxation disagree (RINS, Danna, Rothberg, Le Pape 2005), then windows of operators.
 */
import { invariant, type Rng } from "@millrace/core";
import type { LinearProgram } from "@millrace/core/solver";
import type { Formulation } from "./formulation.ts";

/** A program with its free binaries counted. */
export interface Neighbourhood {
  readonly program: LinearProgram;
  readonly free: number;
}

function fixed(
  formulation: Formulation,
  start: Float64Array,
  isFree: (column: number) => boolean,
): Neighbourhood {
  const { program } = formulation;
  const columnLower = program.columnLower.slice();
  const columnUpper = program.columnUpper.slice();
  let free = 0;
  for (let c = 0; c < program.columns; c++) {
    if (program.integral[c] === 0) continue;
    invariant(!Number.isNaN(start[c] as number), `binary ${c} without a value in the start`);
    if (isFree(c)) free++;
    else columnLower[c] = columnUpper[c] = start[c] as number;
  }
  return { program: { ...program, columnLower, columnUpper }, free };
}

/** Free: where plan and relaxation differ by more than `tolerance`. */
export function disagreement(
  formulation: Formulation,
  start: Float64Array,
  relaxed: Float64Array,
  tolerance: number,
): Neighbourhood {
  return fixed(
    formulation,
    start,
    (c) => Math.abs((start[c] as number) - (relaxed[c] as number)) > tolerance,
  );
}

/** Free: everything about operators low … high, in every stage. */
export function operatorWindow(
  formulation: Formulation,
  start: Float64Array,
  low: number,
  high: number,
): Neighbourhood {
  const free = new Uint8Array(formulation.program.columns);
  const count = (formulation.stages[0]?.stored.length ?? 0) / 2;
  for (const stage of formulation.stages) {
    for (let j = low; j <= high; j++) {
      for (const column of stage.run[j] ?? []) free[column] = 1;
      for (const tensor of [j, count + j]) {
        const column = stage.stored[tensor] ?? -1;
        if (column >= 0) free[column] = 1;
      }
    }
    if (stage.b >= low && stage.b <= high) for (const column of stage.backward) free[column] = 1;
  }
  return fixed(formulation, start, (c) => free[c] === 1);
}

/** Free: everything in stages low … high. */
export function stageWindow(
  formulation: Formulation,
  start: Float64Array,
  low: number,
  high: number,
): Neighbourhood {
  const free = new Uint8Array(formulation.program.columns);
  for (let t = low; t <= high; t++) {
    const stage = formulation.stages[t];
    if (stage === undefined) continue;
    for (const columns of stage.run) for (const column of columns) free[column] = 1;
    for (const column of stage.backward) free[column] = 1;
    for (const column of stage.stored) if (column >= 0) free[column] = 1;
  }
  return fixed(formulation, start, (c) => free[c] === 1);
}

/** A window of a width drawn around a place drawn. */
export function randomWindow(rng: Rng, count: number, width: number): [number, number] {
  const at = rng.int(0, Math.max(0, count - 1));
  const low = Math.max(0, at - Math.floor(width / 2));
  return [low, Math.min(count - 1, low + width - 1)];
}
