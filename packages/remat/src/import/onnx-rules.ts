/** Shape rules and translations of ONNX operators, in the forms that exporters of the known models write. */
import { elements } from "../graph/graph.ts";
import type { ActivationFunction } from "../graph/operation.ts";
import type { Value } from "../models/builder.ts";
import type { Known, RuleContext } from "./onnx-import.ts";
import { convolution, pool, transposedConvolution } from "./onnx-windows.ts";

/** Outputs in order. */
export type OperatorRule = (context: RuleContext) => readonly Value[];

const view = (x: Value, dims: readonly number[]): Value => ({ ...x, dims });

const activation =
  (name: ActivationFunction): OperatorRule =>
  ({ builder, node, value }) => [
    builder.add(node.name, { kind: "activation", function: name }, [value(0)], value(0).dims),
  ];

/** Shapes stretched against each other. */
function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    return Math.max(x, y);
  });
}

/** A weight or constant as a parameter: several numbers with a name are taken to be trained, a single one is not. */
function trainedOf(what: Known): { name: string; dims: readonly number[] }[] {
  if (what.kind !== "constant") return [];
  const trained = what.values === null || (elements(what.dims) > 1 && what.name !== "");
  return trained ? [{ name: what.name, dims: what.dims }] : [];
}

/**
 * Sums and products: of two computed operands, or with a weight or constant. Backward of sums needs nothing, whatever is
 * stretched; products with a number that is not trained need nothing either.
 */
const combine =
  (kind: "add" | "multiply"): OperatorRule =>
  ({ builder, node, known, fail }) => {
    const operands = node.inputs.map((_, i) => known(i));
    const there = operands.filter((what) => what !== undefined);
    const from = there.filter((what) => what.kind === "value").map((what) => what.value);
    if (from.length === 0 || there.length !== operands.length || there.length > 8)
      return fail("needs operands, one of them computed");
    const dims = there
      .map((what) => (what.kind === "value" ? what.value.dims : what.dims))
      .reduce(broadcast);
    const trained = there.flatMap(trainedOf);
    const scaled = kind === "multiply" && from.length === 1 && trained.length === 0;
    // A number over what was computed is no scaling.
    if (scaled && !(node.type === "Div" && operands[0]?.kind === "constant"))
      return [builder.add(node.name, { kind: "activation", function: "scale" }, from, dims)];
    if (scaled)
      return [builder.add(node.name, { kind: "activation", function: "reciprocal" }, from, dims)];
    return [builder.add(node.name, { kind }, from, dims, trained)];
  };

/** Powers with a known exponent. */
const power: OperatorRule = (context) => {
  const { builder, node, value, fail } = context;
  const [exponent] = integers(context, 1) ?? [];
  if (exponent === undefined) return fail("the exponent is not known in advance");
  const x = value(0);
  if (exponent === 1) return [x];
  const named: Readonly<Record<number, ActivationFunction>> = {
    2: "square",
    0.5: "sqrt",
    [-1]: "reciprocal",
  };
  const name = named[exponent] ?? "power";
  return [builder.add(node.name, { kind: "activation", function: name }, [x], x.dims)];
};

/** Clamping: ReLU and ReLU6 where it is one of them; none without limits. Limits are operands or, before opset 11, attributes. */
const clip: OperatorRule = (context) => {
  const { builder, node, value, known, float } = context;
  const x = value(0);
  const limit = (position: number, name: string, otherwise: number): number => {
    const what = known(position);
    if (what === undefined) return float(name, otherwise);
    return what.kind === "constant" ? (what.values?.[0] ?? Number.NaN) : Number.NaN;
  };
  const low = limit(1, "min", Number.NEGATIVE_INFINITY);
  const high = limit(2, "max", Number.POSITIVE_INFINITY);
  const open = high > 3e38;
  if (open && low < -3e38) return [x];
  if (low === 0 && open) return [builder.relu(node.name, x)];
  if (low === 0 && high === 6) return [builder.relu6(node.name, x)];
  return [builder.add(node.name, { kind: "activation", function: "clip" }, [x], x.dims)];
};

const copy =
  (
    what: "transpose" | "slice" | "pad" | "broadcast",
    shape: (context: RuleContext) => number[],
  ): OperatorRule =>
  (context) => [
    context.builder.add(
      context.node.name,
      { kind: "copy", what },
      [context.value(0)],
      shape(context),
    ),
  ];

/** Constant operand of integers. */
function integers(context: RuleContext, position: number): readonly number[] | null {
  const what = context.known(position);
  return what?.kind === "constant" ? what.values : null;
}

function reshaped(context: RuleContext): Value {
  const x = context.value(0);
  const wanted = integers(context, 1);
  if (wanted === null) return context.fail("the new shape is not known in advance");
  const dims = wanted.map((d, i) => (d === 0 ? (x.dims[i] ?? 1) : d));
  const known = dims.reduce((product, d) => (d < 0 ? product : product * d), 1);
  const full = dims.map((d) => (d < 0 ? elements(x.dims) / known : d));
  // Exporters freeze the batch that they traced; the batch of the caller takes its place.
  const total = elements(x.dims);
  const rest = full.slice(1).reduce((product, d) => product * d, 1);
  if (elements(full) !== total && Number.isInteger(total / rest)) full[0] = total / rest;
  if (elements(full) !== total || !full.every(Number.isInteger))
    return context.fail(`cannot make ${x.dims.join(" x ")} into ${wanted.join(" x ")}`);
  return view(x, full);
}

/** A product with a weight is a linear operator, with another activation a batched product. */
function product(context: RuleContext): Value {
  const { builder, node, known, value, fail } = context;
  const b = known(1);
  const x = value(0);
  if (b?.kind === "constant") {
    const out = b.dims.at(-1) as number;
    const width = b.dims[0] as number;
    if (b.dims.length !== 2 || x.dims.at(-1) !== width)
      return fail(`${x.dims.join(" x ")} times ${b.dims.join(" x ")}`);
    return builder.add(
      node.name,
      { kind: "linear", bias: false, flatten: false },
      [x],
      [...x.dims.slice(0, -1), out],
      [{ name: b.name, dims: [out, width] }],
    );
  }
  const y = value(1);
  const dims = [
    ...broadcast(x.dims.slice(0, -2), y.dims.slice(0, -2)),
    x.dims.at(-2) ?? 1,
    y.dims.at(-1) ?? 1,
  ];
  if (x.dims.at(-1) !== y.dims.at(-2))
    return fail(`${x.dims.join(" x ")} times ${y.dims.join(" x ")}`);
  return builder.add(node.name, { kind: "matmul" }, [x, y], dims);
}

function gemm({ builder, node, value, weight, known, int, fail }: RuleContext): Value {
  const w = weight(1);
  const [rows = 0, columns = 0] = w.dims;
  const [out, width] = int("transB", 0) === 1 ? [rows, columns] : [columns, rows];
  const x = value(0);
  if (elements(x.dims.slice(1)) !== width)
    return fail(`${x.dims.join(" x ")} times ${w.dims.join(" x ")}`);
  const bias = known(2);
  return builder.add(
    node.name,
    { kind: "linear", bias: bias !== undefined, flatten: true },
    [x],
    [x.dims[0] as number, out],
    [
      { name: w.name, dims: [out, width] },
      ...(bias?.kind === "constant" ? [{ name: bias.name, dims: bias.dims }] : []),
    ],
  );
}

function reduced(context: RuleContext): number[] {
  const { dims } = context.value(0);
  const axes = (
    integers(context, 1) ??
    context.ints(
      "axes",
      dims.map((_, i) => i),
    )
  ).map((a) => (a < 0 ? a + dims.length : a));
  return context.int("keepdims", 1) === 1
    ? dims.map((d, i) => (axes.includes(i) ? 1 : d))
    : dims.filter((_, i) => !axes.includes(i));
}

const squeezed: OperatorRule = (context) => {
  const x = context.value(0);
  const axes = (integers(context, 1) ?? context.ints("axes", [])).map((a) =>
    a < 0 ? a + x.dims.length : a,
  );
  return [
    view(
      x,
      x.dims.filter((d, i) => (axes.length > 0 ? !axes.includes(i) : d !== 1)),
    ),
  ];
};

const unsqueezed: OperatorRule = (context) => {
  const x = context.value(0);
  const axes = integers(context, 1) ?? context.ints("axes", []);
  const dims = [...x.dims];
  for (const axis of [...axes].sort((a, b) => a - b))
    dims.splice(axis < 0 ? axis + dims.length + 1 : axis, 0, 1);
  return [view(x, dims)];
};

const same: OperatorRule = ({ value }) => [value(0)];

/** Rules by operator type. */
export const operatorRules: Readonly<Record<string, OperatorRule>> = {
  Conv: (context) => [convolution(context)],
  ConvTranspose: (context) => [transposedConvolution(context)],
  BatchNormalization: ({ builder, node, value }) => [builder.batchNorm(node.name, value(0))],
  LayerNormalization: ({ builder, node, value }) => [builder.layerNorm(node.name, value(0))],
  Relu: ({ builder, node, value }) => [builder.relu(node.name, value(0))],
  Clip: clip,
  Gelu: ({ builder, node, value }) => [builder.gelu(node.name, value(0))],
  Sigmoid: activation("sigmoid"),
  Tanh: activation("tanh"),
  Erf: activation("erf"),
  Exp: activation("exp"),
  Log: activation("log"),
  Sqrt: activation("sqrt"),
  Pow: power,
  Neg: activation("scale"),
  Abs: activation("abs"),
  Elu: activation("elu"),
  Reciprocal: activation("reciprocal"),
  LeakyRelu: activation("leakyRelu"),
  HardSwish: activation("hardSwish"),
  HardSigmoid: activation("hardSigmoid"),
  Softplus: activation("softplus"),
  MaxPool: (context) => [pool(context, "maxPool")],
  AveragePool: (context) => [pool(context, "averagePool")],
  GlobalAveragePool: ({ builder, node, value }) => {
    const y = builder.globalAveragePool(node.name, value(0));
    return [view(y, [...y.dims, 1, 1])];
  },
  Gemm: (context) => [gemm(context)],
  MatMul: (context) => [product(context)],
  Add: combine("add"),
  Sub: combine("add"),
  Sum: combine("add"),
  Mul: combine("multiply"),
  Div: combine("multiply"),
  Concat: ({ builder, node, value, int }) => {
    const parts = node.inputs.map((_, i) => value(i));
    const first = parts[0] as Value;
    const axis = (int("axis", 1) + first.dims.length) % first.dims.length;
    const dims = first.dims.map((d, i) =>
      i === axis ? parts.reduce((sum, part) => sum + (part.dims[i] ?? 0), 0) : d,
    );
    return [builder.add(node.name, { kind: "concat" }, parts, dims)];
  },
  Dropout: ({ builder, node, value, float }) => [
    builder.dropout(node.name, value(0), float("ratio", 0.5)),
  ],
  Flatten: ({ value, int }) => {
    const x = value(0);
    const axis = int("axis", 1);
    return [view(x, [elements(x.dims.slice(0, axis)), elements(x.dims.slice(axis))])];
  },
  Reshape: (context) => [reshaped(context)],
  Squeeze: squeezed,
  Unsqueeze: unsqueezed,
  Identity: same,
  Cast: same,
  Transpose: copy("transpose", ({ value, ints }) => {
    const { dims } = value(0);
    return ints(
      "perm",
      dims.map((_, i) => dims.length - 1 - i),
    ).map((i) => dims[i] ?? 1);
  }),
  Slice: copy("slice", (context) => {
    const { dims } = context.value(0);
    const starts = integers(context, 1) ?? context.ints("starts", []);
    const ends = integers(context, 2) ?? context.ints("ends", []);
    const axes =
      integers(context, 3) ??
      context.ints(
        "axes",
        starts.map((_, i) => i),
      );
    const steps = integers(context, 4) ?? [];
    return dims.map((d, i) => {
      const at = axes.findIndex((axis) => (axis + dims.length) % dims.length === i);
      if (at < 0) return d;
      const clamp = (v: number): number => Math.max(0, Math.min(d, v < 0 ? v + d : v));
      const step = steps[at] ?? 1;
      if (step < 0) return Math.max(1, Math.ceil(d / -step));
      return Math.max(1, Math.ceil((clamp(ends[at] ?? d) - clamp(starts[at] ?? 0)) / step));
    });
  }),
  Split: (context) => {
    const { builder, node, value, int } = context;
    const x = value(0);
    const axis = (int("axis", 0) + x.dims.length) % x.dims.length;
    const count = node.outputs.length;
    const even = node.outputs.map(() => (x.dims[axis] ?? 1) / count);
    const sizes = integers(context, 1) ?? context.ints("split", even);
    return node.outputs.map((output, k) =>
      builder.add(
        output,
        { kind: "copy", what: "slice" },
        [x],
        x.dims.map((d, i) => (i === axis ? (sizes[k] ?? 1) : d)),
      ),
    );
  },
  Pad: copy("pad", (context) => {
    const { dims } = context.value(0);
    const pads = integers(context, 1) ?? context.ints("pads", []);
    return dims.map((d, i) => d + (pads[i] ?? 0) + (pads[i + dims.length] ?? 0));
  }),
  Expand: copy("broadcast", (context) =>
    broadcast(context.value(0).dims, integers(context, 1) ?? []),
  ),
  Softmax: ({ builder, node, value }) => [
    builder.add(node.name, { kind: "softmax" }, [value(0)], value(0).dims),
  ],
  LogSoftmax: ({ builder, node, value }) => [
    builder.add(node.name, { kind: "softmax" }, [value(0)], value(0).dims),
  ],
  ReduceMean: (context) => [
    context.builder.add(
      context.node.name,
      { kind: "reduce", what: "mean" },
      [context.value(0)],
      reduced(context),
    ),
  ],
  ReduceSum: (context) => [
    context.builder.add(
      context.node.name,
      { kind: "reduce", what: "sum" },
      [context.value(0)],
      reduced(context),
    ),
  ],
  Gather: ({ builder, node, value, known, weight }) => {
    const data = known(0);
    if (data?.kind === "constant") {
      const w = weight(0);
      const ids = value(1);
      return [
        builder.add(
          node.name,
          { kind: "embedding", positions: false },
          [ids],
          [...ids.dims, ...w.dims.slice(1)],
          [{ name: w.name, dims: w.dims }],
        ),
      ];
    }
    const x = value(0);
    const index = known(1);
    const taken = index?.kind === "constant" ? index.dims : [];
    const axis = (node.attributes.get("axis")?.i ?? 0) % x.dims.length;
    const dims = [...x.dims.slice(0, axis), ...taken, ...x.dims.slice(axis + 1)];
    return [builder.add(node.name, { kind: "copy", what: "slice" }, [x], dims)];
  },
  Upsample: (context) => resized(context, 1),
  Resize: (context) => resized(context, 2),
};

function resized(context: RuleContext, scalesAt: number): readonly Value[] {
  const { builder, node, value, fail } = context;
  const x = value(0);
  const scales = integers(context, scalesAt);
  const sizes = integers(context, 3);
  const scale =
    scales !== null && scales.length === 4
      ? (scales[2] as number)
      : sizes !== null
        ? (sizes[2] as number) / (x.dims[2] as number)
        : Number.NaN;
  if (!Number.isInteger(scale) || scale < 1) return fail("only whole scales are known");
  const mode = context.text("mode", "nearest") === "linear" ? "bilinear" : "nearest";
  return [builder.upsample(node.name, x, scale, mode)];
}
