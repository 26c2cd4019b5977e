/** Folding of what is known in advance: shapes, and the arithmetic that exporters write around them. */
import type { Known, RuleContext } from "./onnx-import.ts";

type Constant = Extract<Known, { kind: "constant" }>;
/** Null when the operands are computed, so that the operator's own rule applies. */
export type ConstantRule = (context: RuleContext) => Constant | null;

const constant = (
  values: readonly number[],
  dims: readonly number[] = [values.length],
): Constant => ({
  kind: "constant",
  dims,
  values,
  name: "",
});

/** Values of all operands, or null when one of them is not known. */
function operands({ node, known }: RuleContext): readonly (readonly number[])[] | null {
  const all = node.inputs.map((_, i) => known(i));
  const values = all.map((what) => (what?.kind === "constant" ? what.values : null));
  return values.some((v) => v === null) ? null : (values as readonly (readonly number[])[]);
}

const binary =
  (apply: (a: number, b: number) => number): ConstantRule =>
  (context) => {
    const [a, b] = operands(context) ?? [];
    if (a === undefined || b === undefined) return null;
    const length = Math.max(a.length, b.length);
    const at = (list: readonly number[], i: number): number => list[i % list.length] ?? 0;
    return constant(Array.from({ length }, (_, i) => apply(at(a, i), at(b, i))));
  };

const same: ConstantRule = (context) => {
  const [a] = operands(context) ?? [];
  return a === undefined ? null : constant(a);
};

/** Rules by operator type. */
export const constantRules: Readonly<Record<string, ConstantRule>> = {
  Constant: ({ node }) => {
    const tensor = node.attributes.get("value")?.tensor;
    if (tensor != null) return constant(tensor.values ?? [], tensor.dims);
    const ints = node.attributes.get("value_ints")?.ints;
    if (ints !== undefined) return constant(ints);
    const one = node.attributes.get("value_int") ?? node.attributes.get("value_float");
    return constant([one?.i || one?.f || 0], []);
  },
  Shape: ({ known }) => {
    const what = known(0);
    if (what === undefined) return null;
    return constant(what.kind === "value" ? what.value.dims : what.dims);
  },
  ConstantOfShape: (context) => {
    const [shape] = operands(context) ?? [];
    if (shape === undefined) return null;
    const count = shape.reduce((product, d) => product * d, 1);
    const value = context.node.attributes.get("value")?.tensor?.values?.[0] ?? 0;
    return count > 4096 ? constant([value], shape) : constant(new Array(count).fill(value), shape);
  },
  Gather: (context) => {
    const [data, at] = operands(context) ?? [];
    if (data === undefined || at === undefined) return null;
    return constant(at.map((i) => data[i < 0 ? i + data.length : i] ?? 0));
  },
  Concat: (context) => {
    const all = operands(context);
    return all === null ? null : constant(all.flat());
  },
  Slice: (context) => {
    const [data, starts, ends] = operands(context) ?? [];
    if (data === undefined || starts === undefined || ends === undefined) return null;
    return constant(data.slice(starts[0], Math.min(ends[0] ?? data.length, data.length)));
  },
  Range: (context) => {
    const [from = 0, to = 0, by = 1] = (operands(context) ?? []).map((list) => list[0] ?? 0);
    const count = Math.max(0, Math.ceil((to - from) / by));
    return count > 4096 || Number.isNaN(count)
      ? null
      : constant(Array.from({ length: count }, (_, i) => from + i * by));
  },
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  // Shapes are whole numbers and divide like them.
  Div: binary((a, b) => (Number.isInteger(a) && Number.isInteger(b) ? Math.trunc(a / b) : a / b)),
  // A weight that is stored the other way round; its values are of no interest.
  Transpose: ({ known, ints }) => {
    const what = known(0);
    if (what?.kind !== "constant") return null;
    const rank = what.dims.length;
    const order = ints(
      "perm",
      what.dims.map((_, i) => rank - 1 - i),
    );
    return { ...what, dims: order.map((i) => what.dims[i] ?? 1), values: null };
  },
  Unsqueeze: same,
  Squeeze: same,
  Cast: same,
  Identity: same,
  Reshape: same,
  Floor: same,
};
