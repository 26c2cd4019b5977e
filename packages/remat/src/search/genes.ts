/** What the greedy planner is told: which implementations to aim at, and how much each tensor is worth keeping. */
import type { Rng } from "@millrace/core";
import type { Layout } from "../problem/layout.ts";
import type { ForwardChoice, Problem } from "../problem/problem.ts";

/** One candidate of the search. */
export interface Genes {
  /** Forward choice aimed at, by operator. */
  readonly forward: Int32Array;
  /** Backward choice aimed at, by operator. */
  readonly backward: Int32Array;
  /** Logarithms of how much more than its recomputation a tensor is worth, by tensor. */
  readonly worth: Float64Array;
  /** Exponents of size and of distance to the next use in the score of what to give up. */
  readonly shape: Float64Array;
}

/** A copy that can be changed. */
export function copyGenes(genes: Genes): Genes {
  return {
    forward: genes.forward.slice(),
    backward: genes.backward.slice(),
    worth: genes.worth.slice(),
    shape: genes.shape.slice(),
  };
}

/** Total size of what backward would keep if nothing were recomputed. */
function keptBy(problem: Problem, layout: Layout, backward: Int32Array): Float64Array {
  const n = layout.count;
  const uses = new Float64Array(2 * n);
  for (let k = 0; k < n; k++)
    for (const tensor of problem.operators[k]?.backward[backward[k] as number]?.needs ?? [])
      uses[tensor] = (uses[tensor] as number) + 1;
  return uses;
}

/**
 * Backward choices whose needs overlap as much as possible, by coordinate descent on the total size kept; then forward
 * choices that make what is needed, and run in place where the overwritten output is needed by nobody.
 */
export function leanGenes(problem: Problem, layout: Layout): Genes {
  const n = layout.count;
  const { operators } = problem;
  const backward = new Int32Array(n);
  const sizeOf = (tensor: number): number =>
    tensor < n ? (operators[tensor]?.output ?? 0) : (layout.auxiliary[tensor - n] as number);
  const uses = keptBy(problem, layout, backward);
  for (let pass = 0; pass < 4; pass++) {
    let changed = false;
    for (let k = n - 1; k >= 0; k--) {
      const choices = operators[k]?.backward ?? [];
      if (choices.length < 2) continue;
      for (const t of choices[backward[k] as number]?.needs ?? [])
        uses[t] = (uses[t] as number) - 1;
      let best = 0;
      let least = Number.POSITIVE_INFINITY;
      for (const [p, choice] of choices.entries()) {
        const added = choice.needs.reduce(
          (sum, t) => sum + ((uses[t] as number) > 0 ? 0 : sizeOf(t)),
          0,
        );
        // Between equals the faster one; an earlier one between those.
        const score = added + 1e-9 * choice.time + (choice.inPlace === undefined ? 1e-12 : 0);
        if (score < least) {
          least = score;
          best = p;
        }
      }
      if (best !== backward[k]) changed = true;
      backward[k] = best;
      for (const t of choices[best]?.needs ?? []) uses[t] = (uses[t] as number) + 1;
    }
    if (!changed) break;
  }
  return {
    forward: forwardFor(problem, layout, backward, true),
    backward,
    worth: new Float64Array(2 * n),
    shape: Float64Array.of(1, 1),
  };
}

/** Backward from own outputs where that can be: what feeds an operator can then be made again from less. */
export function outputGenes(problem: Problem, layout: Layout): Genes {
  const lean = leanGenes(problem, layout);
  for (const [j, op] of problem.operators.entries()) {
    const own = op.backward.findLastIndex(
      (choice) => choice.needs.length === 1 && choice.needs[0] === j,
    );
    const other = op.backward.some((choice) =>
      choice.needs.some((t) => t !== j && t < layout.count),
    );
    if (own >= 0 && other) lean.backward[j] = own;
  }
  return { ...lean, forward: forwardFor(problem, layout, lean.backward, true) };
}

/** Operators with the same choices, such as all norms of a network, by operator. */
export function kinsOf(problem: Problem): readonly (readonly number[])[] {
  const groups = new Map<string, number[]>();
  const keys = problem.operators.map((op) =>
    [...op.forward, ...op.backward]
      .map((choice) => choice.name ?? "")
      .concat(String(op.forward.length), String(op.inputs.length))
      .join("\0"),
  );
  for (const [j, key] of keys.entries()) groups.set(key, [...(groups.get(key) ?? []), j]);
  return keys.map((key) => groups.get(key) ?? []);
}

/** Everything by the first choice. */
export function plainGenes(problem: Problem, layout: Layout): Genes {
  const backward = new Int32Array(layout.count);
  return {
    forward: forwardFor(problem, layout, backward, false),
    backward,
    worth: new Float64Array(2 * layout.count),
    shape: Float64Array.of(1, 1),
  };
}

/** Forward choices that fit given backward choices. */
export function forwardFor(
  problem: Problem,
  layout: Layout,
  backward: Int32Array,
  inPlace: boolean,
): Int32Array {
  const n = layout.count;
  const uses = keptBy(problem, layout, backward);
  return Int32Array.from(problem.operators, (op, j) => {
    const wanted = (uses[n + j] as number) > 0;
    const fits = (choice: ForwardChoice): boolean => {
      const u = choice.inPlace;
      if (u === undefined) return true;
      const last = (layout.consumers[u] as Int32Array).at(-1) === j;
      return inPlace && last && (uses[u] as number) === 0;
    };
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    for (const [c, choice] of op.forward.entries()) {
      const makes = choice.auxiliary !== undefined;
      const score =
        (makes === wanted ? 0 : 1e6) +
        (fits(choice) ? 0 : 1e5) +
        (inPlace && choice.inPlace !== undefined ? 0 : 1) +
        choice.time * 1e-6;
      if (score < least) {
        least = score;
        best = c;
      }
    }
    return best;
  });
}

/** Small changes: implementations of neighbouring operators together, worths of a few tensors, or the score's shape. */
export function mutate(
  genes: Genes,
  problem: Problem,
  layout: Layout,
  kins: readonly (readonly number[])[],
  rng: Rng,
): Genes {
  const child = copyGenes(genes);
  const n = layout.count;
  const kind = rng.next();
  const choices = (j: number): void => {
    const op = problem.operators[j];
    if (op === undefined) return;
    if (op.backward.length > 1 && rng.next() < 0.7)
      child.backward[j] = rng.int(0, op.backward.length - 1);
    if (op.forward.length > 1 && rng.next() < 0.7)
      child.forward[j] = rng.int(0, op.forward.length - 1);
  };
  if (kind < 0.12) {
    // All of a kind together, or most of them.
    const j = rng.int(0, n - 1);
    const share = rng.next() < 0.5 ? 1 : 0.7;
    const backward = rng.int(0, Math.max(0, (problem.operators[j]?.backward.length ?? 1) - 1));
    const forward = rng.int(0, Math.max(0, (problem.operators[j]?.forward.length ?? 1) - 1));
    const which = rng.int(0, 2);
    for (const k of kins[j] ?? []) {
      if (rng.next() > share) continue;
      if (which !== 0) child.backward[k] = backward;
      if (which !== 1) child.forward[k] = forward;
    }
  } else if (kind < 0.4) {
    const j = rng.int(0, n - 1);
    choices(j);
    const near =
      rng.next() < 0.5 ? (layout.inputs[j] as Int32Array) : (layout.consumers[j] as Int32Array);
    if (near.length > 0 && rng.next() < 0.6) choices(near[rng.int(0, near.length - 1)] as number);
  } else if (kind < 0.95) {
    const count = 1 + Math.floor(rng.exponential(0.6));
    const sigma = rng.next() < 0.3 ? 3 : 0.8;
    for (let i = 0; i < count; i++) {
      const t = rng.int(0, n - 1);
      const at = (layout.auxiliary[t] as number) > 0 && rng.next() < 0.4 ? n + t : t;
      child.worth[at] = (child.worth[at] as number) + sigma * rng.normal();
    }
  } else {
    const i = rng.int(0, 1);
    child.shape[i] = Math.max(0, (child.shape[i] as number) + 0.3 * rng.normal());
  }
  return child;
}
