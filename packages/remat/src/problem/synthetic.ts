/** Synthetic problems by seed: random graphs for property tests, chains and residual networks for benches. */
import { Rng } from "@millrace/core";
import type { BackwardChoice, ForwardChoice, Problem, ProblemOperator } from "./problem.ts";

/** Whether implementations are to be chosen, or only what to keep. */
export type Freedom = "checkpoint-only" | "joint";

/** A random graph of any shape with every feature of the format; small enough for exact search up to 8 operators. */
export function randomProblem(seed: number | string, count: number): Problem {
  const rng = new Rng(seed).fork("random-problem");
  const operators: ProblemOperator[] = [];
  for (let j = 0; j < count; j++) {
    const inputs = new Set<number>();
    if (j > 0) inputs.add(j - 1);
    if (j > 1 && rng.next() < 0.35) inputs.add(rng.int(0, j - 2));
    if (j > 0 && j < count - 1 && rng.next() < 0.08) inputs.clear();
    const output = j === count - 1 ? 1 : rng.int(4, 40);
    const list = [...inputs];
    const auxiliary = rng.next() < 0.4 ? rng.int(1, 20) : undefined;
    const time = rng.int(1, 100) / 10;
    const forward: ForwardChoice[] = [{ time, workspace: rng.int(0, 8) }];
    if (auxiliary !== undefined) {
      forward.push({ time: time * 1.1, workspace: 0, auxiliary });
      if (rng.next() < 0.1)
        forward.push({ time: time * 1.2, workspace: 0, auxiliary: auxiliary + 1 });
    }
    const u = list[0];
    if (u !== undefined && operators[u]?.output === output)
      forward.push({ time, workspace: 0, inPlace: u });
    if (u !== undefined && rng.next() < 0.2 && (operators[u]?.output ?? 0) >= output)
      forward.push({ time: time * 0.9, workspace: 1, inPlace: u });
    const needs = list.filter(() => rng.next() < 0.8);
    if (rng.next() < 0.2) needs.push(j);
    const backward: BackwardChoice[] = [{ time: time * 2, workspace: rng.int(0, 8), needs }];
    if (auxiliary !== undefined)
      backward.push({ time: time * 1.7, workspace: 0, needs: [count + j] });
    if (rng.next() < 0.3) backward.push({ time: time * 2.4, workspace: 0, needs: [j] });
    if (u !== undefined && (operators[u]?.output ?? 0) <= output && rng.next() < 0.3)
      backward.push({ time: time * 2, workspace: 0, needs, inPlace: u });
    if (needs.length > 0 && rng.next() < 0.3)
      backward.push({
        time: time * 2.1,
        workspace: rng.int(0, 4),
        needs,
        split: { workspace: rng.int(0, 8), frees: needs.slice(0, 1) },
      });
    operators.push({
      name: `op${j}`,
      inputs: list,
      output,
      parameterGradient: rng.next() < 0.5 ? rng.int(1, 5) : 0,
      forward,
      backward,
    });
  }
  return { name: `random-${count}`, fixed: 20, operators };
}

/** A chain of operators whose backward needs their input. */
export function chainProblem(seed: number | string, count: number): Problem {
  const rng = new Rng(seed).fork("chain");
  const operators = Array.from({ length: count }, (_, j): ProblemOperator => {
    const time = rng.int(200, 1000) / 100;
    return {
      name: `op${j}`,
      inputs: j === 0 ? [] : [j - 1],
      output: j === count - 1 ? 1 : rng.int(10, 50),
      parameterGradient: rng.int(1, 3),
      forward: [{ time, workspace: 0 }],
      backward: [{ time: 2 * time, workspace: 0, needs: j === 0 ? [] : [j - 1] }],
    };
  });
  return { name: `chain${count}`, fixed: 20, operators };
}

/**
 * Residual blocks of convolution, norm, ReLU, convolution, norm, sum, ReLU; shrinking in size as they go. Joint problems
 * have fast and small convolutions, norms that invert their output, ReLU in place and with packed masks.
 */
export function residualProblem(seed: number | string, count: number, freedom: Freedom): Problem {
  const rng = new Rng(seed).fork("residual");
  const joint = freedom === "joint";
  const operators: ProblemOperator[] = [];
  let size = 64;
  const add = (op: Omit<ProblemOperator, "name"> & { readonly kind: string }): number => {
    const { kind, ...rest } = op;
    operators.push({ name: `${kind}${operators.length}`, ...rest });
    return operators.length - 1;
  };
  const convolution = (x: number, output: number): number => {
    const time = (6 + rng.next() * 4) * (joint ? 1 : 1);
    const needs = x < 0 ? [] : [x];
    return add({
      kind: "conv",
      inputs: needs,
      output,
      parameterGradient: rng.int(1, 4),
      forward: joint
        ? [
            { time, workspace: 24 },
            { time: time * 1.15, workspace: 0 },
          ]
        : [{ time, workspace: 8 }],
      backward: joint
        ? [
            { time: 2 * time, workspace: 24, needs },
            { time: 2.3 * time, workspace: 0, needs },
          ]
        : [{ time: 2 * time, workspace: 8, needs }],
    });
  };
  const norm = (x: number): number => {
    const j = operators.length;
    const output = operators[x]?.output ?? 0;
    return add({
      kind: "norm",
      inputs: [x],
      output,
      parameterGradient: 0,
      forward: [{ time: 1, workspace: 0 }],
      backward: [
        { time: 2, workspace: 0, needs: [x] },
        ...(joint ? [{ time: 2.2, workspace: 0, needs: [j] }] : []),
      ],
    });
  };
  const relu = (x: number): number => {
    const j = operators.length;
    const output = operators[x]?.output ?? 0;
    const mask = Math.ceil(output / 32);
    return add({
      kind: "relu",
      inputs: [x],
      output,
      parameterGradient: 0,
      forward: joint
        ? [
            { time: 0.6, workspace: 0 },
            { time: 0.6, workspace: 0, inPlace: x },
            { time: 0.7, workspace: 0, auxiliary: mask },
            { time: 0.7, workspace: 0, auxiliary: mask, inPlace: x },
          ]
        : [{ time: 0.6, workspace: 0 }],
      backward: [
        { time: 0.8, workspace: 0, needs: [x] },
        ...(joint
          ? [
              { time: 0.8, workspace: 0, needs: [j] },
              { time: 0.8, workspace: 0, needs: [count + j] },
            ]
          : []),
      ],
    });
  };
  let x = relu(norm(convolution(-1, size)));
  while (operators.length + 8 <= count) {
    if (rng.next() < 0.3 && size > 16) size /= 2;
    const skip = x;
    let y = relu(norm(convolution(x, size)));
    y = norm(convolution(y, size));
    const from = operators[skip]?.output === size ? skip : -1;
    if (from >= 0)
      y = add({
        kind: "sum",
        inputs: [y, from],
        output: size,
        parameterGradient: 0,
        forward: [{ time: 0.9, workspace: 0 }],
        backward: [{ time: 0.9, workspace: 0, needs: [] }],
      });
    x = relu(y);
  }
  while (operators.length < count - 1) x = convolution(x, size);
  add({
    kind: "loss",
    inputs: [x],
    output: 1,
    parameterGradient: 0,
    forward: [{ time: 0.5, workspace: 0 }],
    backward: [{ time: 0.5, workspace: 0, needs: [x] }],
  });
  return { name: `resnet${count}${joint ? "j" : ""}`, fixed: 40, operators };
}
