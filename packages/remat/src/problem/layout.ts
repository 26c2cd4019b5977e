/** What follows from a problem alone, computed once: gradient memory of each backward position, consumers, fresh buffers. */
import type { Problem } from "./problem.ts";

/** Typed arrays indexed by operator. */
export interface Layout {
  readonly count: number;
  /** Resident during backward of operator b, forward tensors apart: fixed, parameter gradients of later operators, gradients of outputs still in use. During the forward pass b is the last operator. */
  readonly base: Float64Array;
  /** Gradients of outputs alone, within `base`. */
  readonly gradients: Float64Array;
  /** New gradient buffers that backward of an operator makes. */
  readonly fresh: Float64Array;
  /** Inputs without repetition. */
  readonly inputs: readonly Int32Array[];
  /** Operators that read an operator's output, ascending. */
  readonly consumers: readonly Int32Array[];
  /** Largest auxiliary tensor of an operator, 0 when no choice makes one. */
  readonly auxiliary: Float64Array;
  /** 1 for operators that need not run: nobody reads their output, forward or backward (see fuse.ts). */
  readonly idle: Uint8Array;
}

/** The layout of a problem; O(operators + edges). */
export function layoutOf(problem: Problem): Layout {
  const { operators } = problem;
  const n = operators.length;
  const inputs = operators.map((op) => Int32Array.from(new Set(op.inputs)).sort());
  const consumerLists: number[][] = operators.map(() => []);
  for (let v = 0; v < n; v++) for (const u of inputs[v] as Int32Array) consumerLists[u]?.push(v);
  const consumers = consumerLists.map((list) => Int32Array.from(list));
  const size = (j: number): number => operators[j]?.output ?? 0;
  const fresh = Float64Array.from(inputs, (list) => list.reduce((sum, u) => sum + size(u), 0));
  const base = new Float64Array(n);
  const gradients = new Float64Array(n);
  let parameters = 0;
  let alive = 0;
  for (let b = n - 1; b >= 0; b--) {
    // Alive at b: outputs u ≤ b with a consumer beyond b. Going down from b + 1 to b its inputs join and it leaves.
    if (b < n - 1) {
      const after = b + 1;
      if ((consumers[after] as Int32Array).length > 0) alive -= size(after);
      for (const u of inputs[after] as Int32Array)
        if ((consumers[u] as Int32Array).at(-1) === after) alive += size(u);
      parameters += operators[after]?.parameterGradient ?? 0;
    }
    gradients[b] = alive;
    base[b] = problem.fixed + parameters + alive;
  }
  const auxiliary = Float64Array.from(operators, (op) =>
    op.forward.reduce((most, choice) => Math.max(most, choice.auxiliary ?? 0), 0),
  );
  const needed = new Set(operators.flatMap((op) => op.backward.flatMap((choice) => choice.needs)));
  const idle = Uint8Array.from(consumers, (list, j) =>
    Number(list.length === 0 && j < n - 1 && !needed.has(j) && !needed.has(n + j)),
  );
  return { count: n, base, gradients, fresh, inputs, consumers, auxiliary, idle };
}
