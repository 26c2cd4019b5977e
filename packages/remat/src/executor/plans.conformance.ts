/** Plans for tests: what to keep and which implementations to try are given, the rest is computed again when needed. */
import type { Action, Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";

/** Which choice to take of `count`, where it can be taken; the next that can is taken otherwise. */
export type Pick = (direction: "forward" | "backward", operator: number, count: number) => number;

const first: Pick = () => 0;

/**
 * A plan that keeps the outputs `keep` says yes to from the forward pass to their last use, and computes the others again
 * for each backward pass that needs them. Forms in place are taken only where nobody misses what they overwrite.
 */
export function keepingPlan(
  problem: Problem,
  keep: (operator: number) => boolean,
  pick: Pick = first,
): Plan {
  const { operators } = problem;
  const n = operators.length;
  const lastUse = operators.map((_, j) =>
    operators.reduce((last, op, v) => (op.inputs.includes(j) ? v : last), j),
  );
  const search = (start: number, count: number, fits: (i: number) => boolean): number => {
    for (let k = 0; k < count; k++) if (fits((start + k) % count)) return (start + k) % count;
    throw new Error("no choice fits");
  };
  const wishes = operators.map((op, j) => pick("forward", j, op.forward.length));
  const backwards = operators.map((op, j) =>
    search(pick("backward", j, op.backward.length), op.backward.length, (i) =>
      op.backward[i]!.needs.every(
        (t) =>
          t < n || op.forward.some((f) => f.auxiliary !== undefined && f.inPlace === undefined),
      ),
    ),
  );
  const needed = new Set(operators.flatMap((op, j) => [...op.backward[backwards[j]!]!.needs]));
  const forwards = operators.map((op, j) =>
    search(wishes[j]!, op.forward.length, (i) => {
      const { inPlace, auxiliary } = op.forward[i]!;
      if (needed.has(n + j) && auxiliary === undefined) return false;
      return inPlace === undefined || (!needed.has(inPlace) && lastUse[inPlace] === j);
    }),
  );
  const plan: Action[] = [];
  const live = new Set<number>();
  const free = (tensor: number): void => {
    live.delete(tensor);
    plan.push({ kind: "free", tensor });
  };
  const run = (j: number): void => {
    const { inPlace, auxiliary } = operators[j]!.forward[forwards[j]!]!;
    plan.push({ kind: "forward", operator: j, choice: forwards[j]! });
    if (inPlace !== undefined) live.delete(inPlace);
    live.add(j);
    if (auxiliary !== undefined) live.add(n + j);
  };
  const ensure = (j: number): void => {
    if (live.has(j)) return;
    for (const u of operators[j]!.inputs) ensure(u);
    run(j);
  };
  const kept = (t: number): boolean => keep(t < n ? t : t - n);
  for (let j = 0; j < n; j++) {
    ensure(j);
    for (const t of [...live]) {
      const owner = t < n ? t : t - n;
      if (!kept(t) && lastUse[owner]! <= j && owner !== j) free(t);
    }
  }
  for (let b = n - 1; b >= 0; b--) {
    const { needs, split } = operators[b]!.backward[backwards[b]!]!;
    for (const need of needs) {
      if (need < n) ensure(need);
      else if (!live.has(need)) {
        if (live.has(need - n)) free(need - n);
        ensure(need - n);
      }
    }
    // Making one need may have overwritten another.
    for (const need of needs) if (need < n) ensure(need);
    plan.push({ kind: "backward", operator: b, choice: backwards[b]! });
    for (const t of split?.frees ?? []) live.delete(t);
    for (const t of [...live]) if (t === b || t === n + b || !kept(t)) free(t);
  }
  return plan;
}
