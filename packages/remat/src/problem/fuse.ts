/**
 * The same problem with fewer tensors: where an operator can only overwrite the output of the one before it (PyTorch's
 * ReLU in place after a norm), the two run as one. The first keeps both times and makes the overwritten tensor, the second
 * makes nothing and exists for its backward alone; gradients, stages and memory are what they were. Nothing is lost: a
 * plan that holds the first output could as well hold the second, which is as large and worth more.
 */
import { layoutOf } from "./layout.ts";
import { type Problem, type ProblemOperator, timeAgain } from "./problem.ts";

/** For bounds: what holds for stage-ordered plans of the answer holds for those of `problem`, and the other way round. */
export function fuseOverwriting(problem: Problem): Problem {
  const layout = layoutOf(problem);
  const { operators } = problem;
  const n = operators.length;
  const neededBy = new Map<number, number[]>();
  for (const [k, op] of operators.entries())
    for (const choice of op.backward)
      for (const tensor of choice.needs) neededBy.set(tensor, [...(neededBy.get(tensor) ?? []), k]);
  // For the second of two operators, the first.
  const firstOf = new Map<number, number>();
  for (const [v, op] of operators.entries()) {
    const [u] = op.inputs;
    const [choice] = op.forward;
    if (u === undefined || choice === undefined || v === n - 1) continue;
    const before = operators[u];
    if (
      before?.forward.length === 1 &&
      before.forward[0]?.inPlace === undefined &&
      before.forward[0]?.auxiliary === undefined &&
      before.output === op.output &&
      op.inputs.length === 1 &&
      op.forward.length === 1 &&
      choice.inPlace === u &&
      choice.auxiliary === undefined &&
      layout.consumers[u]?.length === 1 &&
      !neededBy.has(u)
    )
      firstOf.set(v, u);
  }
  const secondOf = new Map([...firstOf].map(([v, u]) => [u, v]));
  const place = (tensor: number): number => firstOf.get(tensor) ?? tensor;
  const fused = operators.map((op, j): ProblemOperator => {
    const inputs = op.inputs.map(place);
    const backward = op.backward.map((choice) => ({
      ...choice,
      needs: choice.needs.map(place),
      ...(choice.inPlace !== undefined && { inPlace: place(choice.inPlace) }),
      ...(choice.split !== undefined && {
        split: { ...choice.split, frees: choice.split.frees.map(place) },
      }),
    }));
    const second = operators[secondOf.get(j) ?? -1]?.forward[0];
    if (second !== undefined) {
      const forward = op.forward.map((choice) => ({
        ...choice,
        time: choice.time + second.time,
        again: timeAgain(choice) + timeAgain(second),
        workspace: Math.max(choice.workspace, second.workspace),
      }));
      return { ...op, inputs, forward, backward };
    }
    if (!firstOf.has(j)) return { ...op, inputs, backward, forward: placed(op, place) };
    return { ...op, inputs, backward, output: 0, forward: [{ time: 0, workspace: 0 }] };
  });
  return { ...problem, operators: fused };
}

function placed(
  op: ProblemOperator,
  place: (tensor: number) => number,
): ProblemOperator["forward"] {
  return op.forward.map((choice) =>
    choice.inPlace === undefined ? choice : { ...choice, inPlace: place(choice.inPlace) },
  );
}
