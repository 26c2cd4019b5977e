/** What a relaxed solution suggests to the greedy planner: implementations, and which tensors stay how long. */
import type { Layout } from "../problem/layout.ts";
import type { Problem } from "../problem/problem.ts";
import type { Genes } from "../search/genes.ts";
import type { Formulation } from "./formulation.ts";

/** Genes from a fractional solution: the heaviest choices, and worths that grow with the share of stages stored. */
export function genesOf(
  problem: Problem,
  layout: Layout,
  formulation: Formulation,
  solution: Float64Array,
): Genes {
  const n = layout.count;
  const value = (column: number): number => (column < 0 ? 0 : (solution[column] as number));
  const backward = new Int32Array(n);
  const forward = new Int32Array(n);
  const stored = new Float64Array(2 * n);
  const possible = new Float64Array(2 * n);
  const weights = problem.operators.map((op) => new Float64Array(op.forward.length));
  for (const [t, stage] of formulation.stages.entries()) {
    for (const [j, columns] of stage.run.entries())
      for (const [c, column] of columns.entries())
        (weights[j] as Float64Array)[c] =
          ((weights[j] as Float64Array)[c] as number) + value(column) * (t === 0 ? 1 : 0.2);
    if (t === 0) continue;
    backward[stage.b] = heaviest(stage.backward.map(value));
    for (let i = 0; i < 2 * n; i++)
      if ((stage.stored[i] as number) >= 0) {
        possible[i] = (possible[i] as number) + 1;
        stored[i] = (stored[i] as number) + value(stage.stored[i] as number);
      }
  }
  for (let j = 0; j < n; j++) forward[j] = heaviest(weights[j] as Float64Array);
  const worth = Float64Array.from(stored, (sum, i) => {
    const share = possible[i] === 0 ? 0 : sum / (possible[i] as number);
    return 8 * (share - 0.5);
  });
  return { forward, backward, worth, shape: Float64Array.of(1, 1) };
}

function heaviest(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++)
    if ((values[i] as number) > (values[best] as number) + 1e-9) best = i;
  return best;
}
