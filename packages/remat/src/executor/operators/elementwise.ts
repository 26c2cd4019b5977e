/** Operators that work element by element, and sums of two. */
import {
  add,
  addInplace,
  cont,
  mul,
  mulInplace,
  relu,
  reluInplace,
  silu,
  siluBack,
  step,
  swigluSplit,
} from "@millrace/ggml";
import {
  clampBackward,
  clampForward,
  dropout as drop,
  geluBackward,
  geluForward,
  maskBackward,
  maskForward,
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

/** Keeping one bit per element: whether its gradient passes. */
const masked = (limit: number): OperatorKind => ({
  forward: [
    {
      name: "mask",
      auxiliaryBytes: maskBytes,
      code: { host: (operands) => maskForward(operands, "x0", limit) },
    },
    {
      name: "mask-in-place",
      inPlace: 0,
      auxiliaryBytes: maskBytes,
      code: { host: (operands) => maskForward(operands, "y", limit) },
    },
  ],
  backward: [
    whole("mask", ["a"], { host: (operands) => maskBackward(operands) }),
    whole("mask-in-place", ["a"], { host: (operands) => maskBackward(operands) }, { inPlace: 0 }),
  ],
});

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
    ...masked(Number.POSITIVE_INFINITY).forward,
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
    ...masked(Number.POSITIVE_INFINITY).backward,
  ],
};

/** Where ReLU6 cuts. */
const six = 6;
const clamped = { host: (o: ReadonlyMap<string, Uint8Array>) => clampBackward(o, six) };

export const rectifierToSix: OperatorKind = {
  forward: [
    { name: "copy", code: { host: (operands) => clampForward(operands, "x0", six) } },
    {
      name: "in-place",
      inPlace: 0,
      code: { host: (operands) => clampForward(operands, "y", six) },
    },
    ...masked(six).forward,
  ],
  backward: [
    whole("output", ["y"], clamped),
    whole("output-in-place", ["y"], clamped, { inPlace: 0 }),
    ...masked(six).backward,
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
  inference: { host: (o) => (o.get("y") as Uint8Array).set(o.get("x0") as Uint8Array) },
};
