/** Operators that work element by element, sums of two, and pooling. */
import {
  add,
  addInplace,
  cont,
  mean,
  mul,
  mulInplace,
  type Pooling,
  pool2d,
  pool2dBack,
  relu,
  reluInplace,
  repeat,
  reshape,
  type Stride,
  scale,
  silu,
  siluBack,
  step,
  swigluSplit,
  transposed,
} from "@millrace/ggml";
import {
  dropout as drop,
  geluBackward,
  geluForward,
  maskBackward,
  maskForward,
  poolBackward,
  poolForward,
} from "../../kernels/host.ts";
import {
  count,
  type OperationOf,
  type OperatorKind,
  type OperatorShape,
  whole,
} from "./operator.ts";

/** Bytes of a mask of one bit per element. */
const maskBytes = (op: OperatorShape): number => Math.ceil(count(op.output) / 8);

export const rectifier: OperatorKind = {
  forward: [
    {
      name: "copy",
      code: { native: () => (k) => void k.into("y", relu(k.arena, k.operand("x0"))) },
    },
    {
      name: "in-place",
      inPlace: 0,
      code: { native: () => (k) => void k.run(reluInplace(k.arena, k.operand("y"))) },
    },
    {
      name: "mask",
      auxiliaryBytes: maskBytes,
      code: { host: (operands) => maskForward(operands, "x0") },
    },
    {
      name: "mask-in-place",
      inPlace: 0,
      auxiliaryBytes: maskBytes,
      code: { host: (operands) => maskForward(operands, "y") },
    },
  ],
  backward: [
    whole("output", ["y"], {
      native: () => (k) => {
        const dx = k.into("dx0", step(k.arena, k.operand("y")));
        k.run(mulInplace(k.arena, dx, k.operand("dy")));
      },
    }),
    whole(
      "output-in-place",
      ["y"],
      {
        native: () => (k) =>
          void k.run(mulInplace(k.arena, k.operand("dy"), step(k.arena, k.operand("y")))),
      },
      { inPlace: 0 },
    ),
    whole("mask", ["a"], { host: (operands) => maskBackward(operands) }),
    whole("mask-in-place", ["a"], { host: (operands) => maskBackward(operands) }, { inPlace: 0 }),
  ],
};

export const gelu: OperatorKind = {
  forward: [{ name: "copy", code: { host: (operands) => geluForward(operands) } }],
  backward: [
    whole("input", ["x0"], { host: (operands) => geluBackward(operands) }),
    whole("input-in-place", ["x0"], { host: (operands) => geluBackward(operands) }, { inPlace: 0 }),
  ],
};

/** gate, up → silu(gate) · up. */
export const swiglu: OperatorKind = {
  forward: [
    {
      name: "copy",
      code: {
        native: () => (k) =>
          void k.into("y", swigluSplit(k.arena, k.operand("x0"), k.operand("x1"))),
      },
    },
  ],
  backward: [
    whole("input", ["x0", "x1"], {
      native: () => (k) => {
        const { arena } = k;
        const [gate, up, dy] = [k.operand("x0"), k.operand("x1"), k.operand("dy")];
        k.into("dx0", siluBack(arena, mul(arena, dy, up), gate));
        const gated = k.into("dx1", silu(arena, gate));
        k.run(mulInplace(arena, gated, dy));
      },
    }),
  ],
};

export const sum: OperatorKind = {
  forward: [
    {
      name: "copy",
      code: {
        native: () => (k) => void k.into("y", add(k.arena, k.operand("x0"), k.operand("x1"))),
      },
    },
    {
      name: "in-place",
      inPlace: 0,
      code: {
        native: () => (k) => void k.run(addInplace(k.arena, k.operand("y"), k.operand("x1"))),
      },
    },
    {
      name: "in-place-second",
      inPlace: 1,
      code: {
        native: () => (k) => void k.run(addInplace(k.arena, k.operand("y"), k.operand("x0"))),
      },
    },
  ],
  backward: [
    whole("copy", [], {
      native: () => (k) => {
        k.into("dx0", cont(k.arena, k.operand("dy")));
        k.into("dx1", cont(k.arena, k.operand("dy")));
      },
    }),
    whole(
      "in-place",
      [],
      { native: () => (k) => void k.into("dx1", cont(k.arena, k.operand("dy"))) },
      { inPlace: 0 },
    ),
  ],
};

const rate = (op: OperatorShape): number => (op.operation as OperationOf<"dropout">).rate;

/** The mask follows from seed, step and operator: whoever computes it again gets the same one, and nothing is kept. */
export const dropout: OperatorKind = {
  forward: [
    { name: "copy", code: { host: (o, op, context) => drop(o, "x0", "y", rate(op), context) } },
    {
      name: "in-place",
      inPlace: 0,
      code: { host: (o, op, context) => drop(o, "y", "y", rate(op), context) },
    },
  ],
  backward: [
    whole("copy", [], { host: (o, op, context) => drop(o, "dy", "dx0", rate(op), context) }),
    whole(
      "in-place",
      [],
      { host: (o, op, context) => drop(o, "dy", "dy", rate(op), context) },
      { inPlace: 0 },
    ),
  ],
};

type Pool = OperationOf<"maxPool" | "averagePool">;

/** Square windows that do not reach past the padding. */
export function poolSupported(op: OperatorShape): boolean {
  const { kernel, stride, padding } = op.operation as Pool;
  const alike = (pair: readonly [number, number]): boolean => pair[0] === pair[1];
  return alike(kernel) && alike(stride) && alike(padding) && 2 * padding[0] <= kernel[0];
}

function windowOf(op: OperatorShape): readonly [number, Stride] {
  const { kernel, stride, padding } = op.operation as Pool;
  return [kernel[0], { stride: stride[0], pad: padding[0] }];
}

function pooling(kind: Pooling): OperatorKind {
  return {
    forward: [
      {
        name: "copy",
        code: {
          native: (op) => (k) =>
            void k.into("y", pool2d(k.arena, k.operand("x0"), kind, ...windowOf(op))),
        },
      },
      {
        name: "packed",
        fits: (op) => kind === "max" && windowOf(op)[0] <= 4,
        auxiliaryBytes: (op) => Math.ceil(count(op.output) / 2),
        code: {
          host: (o, op) =>
            poolForward(o, op.inputs[0] as readonly number[], op.output, ...windowOf(op)),
        },
      },
    ],
    backward: [
      whole("input", ["x0"], {
        native: (op) => (k) => {
          const [dy, x] = [k.operand("dy"), k.operand("x0")];
          k.into("dx0", pool2dBack(k.arena, dy, x, kind, ...windowOf(op)));
        },
      }),
      ...(kind === "max"
        ? [
            whole("packed", ["a"], {
              host: (o, op) =>
                poolBackward(o, op.inputs[0] as readonly number[], op.output, ...windowOf(op)),
            }),
          ]
        : []),
    ],
  };
}

export const maxPool: OperatorKind = pooling("max");
export const averagePool: OperatorKind = pooling("average");

/** [W, H, N, C] → [C, N]. */
export const globalAveragePool: OperatorKind = {
  forward: [
    {
      name: "copy",
      code: {
        native: () => (k) => {
          const { arena } = k;
          const x = k.operand("x0");
          const [w, h, n, c] = x.ne;
          const means = mean(arena, reshape(arena, x, [w * h, n, c]));
          k.into("y", cont(arena, transposed(arena, reshape(arena, means, [n, c]))));
        },
      },
    },
  ],
  backward: [
    whole("copy", [], {
      native: () => (k) => {
        const { arena } = k;
        const dx = k.operand("dx0");
        const [w, h, n, c] = dx.ne;
        const small = scale(arena, cont(arena, transposed(arena, k.operand("dy"))), 1 / (w * h));
        const like = reshape(arena, dx, [w * h, n * c]);
        k.into("dx0", repeat(arena, reshape(arena, small, [1, n * c]), like));
      },
    }),
  ],
};
