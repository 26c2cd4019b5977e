/**
 * Gist-style encodings (Jain et al., ISCA 2018) without recomputation: activations keep one bit per element, pools packed
 * indices, and whatever is overwritten in place. Its sparse storage is left out: it pays on measured sparsity alone.
 */
import { layoutOf } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { forwardFor, plainGenes } from "../search/genes.ts";
import { GreedyPlanner } from "../search/greedy.ts";

/** The plan that keeps encodings wherever there are any. */
export function gistPlan(problem: Problem): Plan | null {
  const layout = layoutOf(problem);
  const n = layout.count;
  const genes = plainGenes(problem, layout);
  for (const [j, op] of problem.operators.entries()) {
    const encoded = op.backward.findIndex(
      (c) => c.needs.length > 0 && c.needs.every((t) => t >= n),
    );
    if (encoded >= 0) genes.backward[j] = encoded;
  }
  const forward = forwardFor(problem, layout, genes.backward, true);
  const found = new GreedyPlanner(problem, layout, genes).plan(
    { ...genes, forward },
    Number.MAX_VALUE,
  );
  return found?.actions ?? null;
}
