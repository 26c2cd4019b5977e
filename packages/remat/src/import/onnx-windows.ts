/** Convolutions and pools of ONNX: windows with their padding, dilation and rounding, as the standard defines them. */
import { elements } from "../graph/graph.ts";
import type { Pair, Window } from "../graph/operation.ts";
import type { Value } from "../models/builder.ts";
import type { RuleContext } from "./onnx-import.ts";

/** A window as planning knows it (dilated to its reach, padding of the beginning) and what comes out. */
interface Slide {
  readonly window: Window;
  readonly dims: readonly [number, number];
}

interface Attributes {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly reach: Pair;
  readonly pads: readonly [top: number, left: number, bottom: number, right: number];
  readonly auto: string;
}

function attributes(context: RuleContext, kernel: readonly number[]): Attributes {
  const { ints, text, fail } = context;
  if (kernel.length !== 2) return fail(`a window of ${kernel.length} dimensions`);
  const [kh = 1, kw = 1] = kernel;
  const [sh = 1, sw = 1] = ints("strides", [1, 1]);
  const [dh = 1, dw = 1] = ints("dilations", [1, 1]);
  const [top = 0, left = 0, bottom = top, right = left] = ints("pads", [0, 0, 0, 0]);
  const small = [kh, kw, sh, sw, dh, dw].every((v) => v >= 1 && v < 2 ** 16);
  if (!small || ![top, left, bottom, right].every((v) => v >= 0 && v < 2 ** 16))
    return fail(
      `kernel ${kernel}, strides ${[sh, sw]}, dilations ${[dh, dw]}, pads ${[top, left, bottom, right]}`,
    );
  return {
    kernel: [kh, kw],
    stride: [sh, sw],
    reach: [(kh - 1) * dh + 1, (kw - 1) * dw + 1],
    pads: [top, left, bottom, right],
    auto: text("auto_pad", "NOTSET"),
  };
}

/** Where a window goes over an input [n, c, h, w]. */
function slide(context: RuleContext, x: Value, kernel: readonly number[]): Slide {
  const { stride, reach, pads, auto } = attributes(context, kernel);
  const ceil = context.int("ceil_mode", 0) === 1;
  const same = auto.startsWith("SAME");
  const sides = ([0, 1] as const).map((i) => {
    const size = x.dims[i + 2] as number;
    if (same) {
      const out = Math.ceil(size / stride[i]);
      const total = Math.max(0, (out - 1) * stride[i] + reach[i] - size);
      return { out, begin: auto === "SAME_LOWER" ? Math.ceil(total / 2) : Math.floor(total / 2) };
    }
    const begin = auto === "VALID" ? 0 : pads[i];
    const end = auto === "VALID" ? 0 : (pads[i + 2] as number);
    const steps = (size + begin + end - reach[i]) / stride[i];
    // With ceil_mode the last window must start inside the input or its first padding.
    const last =
      Math.ceil(steps) * stride[i] >= size + begin ? Math.floor(steps) : Math.ceil(steps);
    return { out: (ceil ? last : Math.floor(steps)) + 1, begin };
  });
  const [y, z] = sides as [{ out: number; begin: number }, { out: number; begin: number }];
  if (y.out < 1 || z.out < 1)
    return context.fail(`a window of ${reach.join(" x ")} over ${x.dims.join(" x ")}`);
  return {
    window: { kernel: reach, stride, padding: [y.begin, z.begin] },
    dims: [y.out, z.out],
  };
}

/** Conv. A dilated kernel counts as one of its reach: it has the weights it has. */
export function convolution(context: RuleContext): Value {
  const { builder, node, value, weight, known, int, fail } = context;
  const w = weight(1);
  const x = value(0);
  const [out = 0, perGroup = 0, ...kernel] = w.dims;
  const groups = int("group", 1);
  if (x.dims.length !== 4 || perGroup * groups !== x.dims[1])
    return fail(`input of shape ${x.dims.join(" x ")} and weight of ${w.dims.join(" x ")}`);
  const { window, dims } = slide(context, x, kernel);
  const bias = known(2);
  return builder.add(
    node.name,
    { kind: "conv2d", groups, bias: bias !== undefined, ...window },
    [x],
    [x.dims[0] as number, out, ...dims],
    [
      { name: `${node.name}.weight`, dims: w.dims },
      ...(bias === undefined ? [] : [{ name: `${node.name}.bias`, dims: [out] }]),
    ],
  );
}

/** ConvTranspose: weight [in, out, kh, kw]; padding takes from the output, output_padding adds at its end. */
export function transposedConvolution(context: RuleContext): Value {
  const { builder, node, value, weight, known, int, ints, fail } = context;
  const w = weight(1);
  const x = value(0);
  const [channels = 0, out = 0, ...kernel] = w.dims;
  if (x.dims.length !== 4 || channels !== x.dims[1])
    return fail(`input of shape ${x.dims.join(" x ")} and weight of ${w.dims.join(" x ")}`);
  if (int("group", 1) !== 1) return fail("a transposed convolution in groups has no rule");
  const { stride, reach, pads, auto } = attributes(context, kernel);
  const extra = ints("output_padding", [0, 0]);
  const shape = ints("output_shape", []);
  const dims = ([0, 1] as const).map((i) => {
    const size = x.dims[i + 2] as number;
    if (shape.length >= 2) return shape[shape.length - 2 + i] as number;
    if (auto.startsWith("SAME")) return size * stride[i];
    const padding = auto === "VALID" ? 0 : pads[i] + (pads[i + 2] as number);
    return (size - 1) * stride[i] + reach[i] + (extra[i] ?? 0) - padding;
  });
  if (!dims.every((d) => d >= 1 && d < 2 ** 24))
    return fail(`an output of ${dims.join(" x ")} from ${x.dims.join(" x ")}`);
  const bias = known(2);
  return builder.add(
    node.name,
    {
      kind: "convTranspose2d",
      bias: bias !== undefined,
      kernel: reach,
      stride,
      padding: [pads[0], pads[1]],
    },
    [x],
    [x.dims[0] as number, out, ...dims],
    [
      { name: `${node.name}.weight`, dims: w.dims },
      ...(bias === undefined ? [] : [{ name: `${node.name}.bias`, dims: [out] }]),
    ],
  );
}

/** MaxPool and AveragePool. */
export function pool(context: RuleContext, kind: "maxPool" | "averagePool"): Value {
  const x = context.value(0);
  if (x.dims.length !== 4) return context.fail(`a pool over ${x.dims.join(" x ")}`);
  const { window, dims } = slide(context, x, context.ints("kernel_shape", [1, 1]));
  const [n = 1, c = 1] = x.dims;
  if (elements(dims) < 1) return context.fail("an empty output");
  return context.builder.add(context.node.name, { kind, ...window }, [x], [n, c, ...dims]);
}
