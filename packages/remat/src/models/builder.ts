/** Writes training graphs operator by operator and works out shapes and parameters on the way. */
import { MillraceError } from "@millrace/core";
import {
  type ElementType,
  elements,
  type GraphInput,
  type Operator,
  type Parameter,
  type TrainingGraph,
} from "../graph/graph.ts";
import type { Operation, Window } from "../graph/operation.ts";

/** Something an operator can read: an operator's output or a network input. */
export interface Value {
  readonly operator: number;
  /** Network input, -1 for an operator's output. */
  readonly input: number;
  readonly dims: readonly number[];
}

/** Output length of a window along one dimension. */
function windowed(size: number, kernel: number, stride: number, padding: number, ceil: boolean) {
  const steps = (size + 2 * padding - kernel) / stride;
  return (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
}

/** A square window. */
export function square(kernel: number, stride = 1, padding = 0): Window {
  return {
    kernel: [kernel, kernel],
    stride: [stride, stride],
    padding: [padding, padding],
  };
}

/** Elements of an output, so that sums of bytes stay exact, and operators, at most. */
const mostElements = 2 ** 40;
const mostOperators = 100_000;

/** A graph in the making. Every method adds one operator and returns its output. */
export class GraphBuilder {
  private readonly operators: Operator[] = [];
  private readonly inputs: GraphInput[] = [];

  /** A network input. */
  input(name: string, dims: readonly number[], type: ElementType = "f32"): Value {
    this.inputs.push({ name, dims, type });
    return { operator: -1, input: this.inputs.length - 1, dims };
  }

  /** Any operator; the methods below are shorter. Throws GRAPH_INVALID where sizes leave nothing, or are beyond any machine. */
  add(
    name: string,
    operation: Operation,
    from: readonly Value[],
    dims: readonly number[],
    parameters: readonly Parameter[] = [],
  ): Value {
    const count = elements(dims);
    if (!(count > 0 && count <= mostElements && dims.every(Number.isInteger)))
      throw new MillraceError("GRAPH_INVALID", `${name}: an output of ${dims.join(" x ")}`, {
        hint: `give ${count > 0 ? "smaller batches, images or sequences" : "larger images"}`,
      });
    if (this.operators.length === mostOperators)
      throw new MillraceError("GRAPH_INVALID", `more than ${mostOperators} operators`, {
        hint: "give fewer layers",
      });
    this.operators.push({
      name,
      operation,
      inputs: from.filter((value) => value.input < 0).map((value) => value.operator),
      reads: from.filter((value) => value.input >= 0).map((value) => value.input),
      dims,
      parameters,
    });
    return { operator: this.operators.length - 1, input: -1, dims };
  }

  conv(
    name: string,
    x: Value,
    out: number,
    window: Window,
    options: { groups?: number; bias?: boolean } = {},
  ): Value {
    const [n = 0, c = 0, h = 0, w = 0] = x.dims;
    const { groups = 1, bias = false } = options;
    const { kernel, stride, padding } = window;
    const dims = [
      n,
      out,
      windowed(h, kernel[0], stride[0], padding[0], false),
      windowed(w, kernel[1], stride[1], padding[1], false),
    ];
    return this.add(name, { kind: "conv2d", groups, bias, ...window }, [x], dims, [
      { name: `${name}.weight`, dims: [out, c / groups, ...kernel] },
      ...(bias ? [{ name: `${name}.bias`, dims: [out] }] : []),
    ]);
  }

  batchNorm(name: string, x: Value): Value {
    const c = x.dims[1] as number;
    return this.add(name, { kind: "batchNorm", epsilon: 1e-5 }, [x], x.dims, [
      { name: `${name}.weight`, dims: [c] },
      { name: `${name}.bias`, dims: [c] },
    ]);
  }

  relu(name: string, x: Value): Value {
    return this.add(name, { kind: "relu" }, [x], x.dims);
  }

  relu6(name: string, x: Value): Value {
    return this.add(name, { kind: "relu6" }, [x], x.dims);
  }

  gelu(name: string, x: Value): Value {
    return this.add(name, { kind: "gelu" }, [x], x.dims);
  }

  maxPool(name: string, x: Value, window: Window, ceil = false): Value {
    return this.add(name, { kind: "maxPool", ...window }, [x], this.pooled(x, window, ceil));
  }

  averagePool(name: string, x: Value, window: Window): Value {
    return this.add(name, { kind: "averagePool", ...window }, [x], this.pooled(x, window, false));
  }

  globalAveragePool(name: string, x: Value): Value {
    return this.add(name, { kind: "globalAveragePool" }, [x], x.dims.slice(0, 2));
  }

  /** x + y, elementwise. */
  sum(name: string, x: Value, y: Value): Value {
    return this.add(name, { kind: "add" }, [x, y], x.dims);
  }

  concat(name: string, parts: readonly Value[]): Value {
    const [first] = parts;
    const [n = 0, , ...rest] = first?.dims ?? [];
    const channels = parts.reduce((total, part) => total + (part.dims[1] as number), 0);
    return this.add(name, { kind: "concat" }, parts, [n, channels, ...rest]);
  }

  /** Its output is as large as the smallest plane that the window has a place for each element in. */
  convTranspose(
    name: string,
    x: Value,
    out: number,
    window: Window,
    options: { bias?: boolean } = {},
  ): Value {
    const [n = 0, c = 0, h = 0, w = 0] = x.dims;
    const { bias = false } = options;
    const { kernel, stride, padding } = window;
    const extent = (size: number, i: 0 | 1): number =>
      (size - 1) * stride[i] + kernel[i] - 2 * padding[i];
    return this.add(
      name,
      { kind: "convTranspose2d", bias, ...window },
      [x],
      [n, out, extent(h, 0), extent(w, 1)],
      [
        { name: `${name}.weight`, dims: [c, out, ...kernel] },
        ...(bias ? [{ name: `${name}.bias`, dims: [out] }] : []),
      ],
    );
  }

  upsample(name: string, x: Value, scale: number, mode: "nearest" | "bilinear" = "nearest"): Value {
    const [n = 0, c = 0, h = 0, w = 0] = x.dims;
    return this.add(name, { kind: "upsample", scale, mode }, [x], [n, c, h * scale, w * scale]);
  }

  /** Parameters are `name.weight` and `name.bias`. */
  linear(name: string, x: Value, out: number, options: { bias?: boolean } = {}): Value {
    const { bias = false } = options;
    const flatten = x.dims.length > 3;
    const width = flatten ? elements(x.dims.slice(1)) : (x.dims.at(-1) as number);
    const dims = flatten ? [x.dims[0] as number, out] : [...x.dims.slice(0, -1), out];
    return this.add(name, { kind: "linear", bias, flatten }, [x], dims, [
      { name: `${name}.weight`, dims: [out, width] },
      ...(bias ? [{ name: `${name}.bias`, dims: [out] }] : []),
    ]);
  }

  rmsNorm(name: string, x: Value, epsilon = 1e-5): Value {
    return this.add(name, { kind: "rmsNorm", epsilon }, [x], x.dims, [
      { name: `${name}.weight`, dims: [x.dims.at(-1) as number] },
    ]);
  }

  layerNorm(name: string, x: Value, epsilon = 1e-5): Value {
    const width = x.dims.at(-1) as number;
    return this.add(name, { kind: "layerNorm", epsilon }, [x], x.dims, [
      { name: `${name}.weight`, dims: [width] },
      { name: `${name}.bias`, dims: [width] },
    ]);
  }

  embedding(
    name: string,
    tokens: Value,
    width: number,
    vocabulary: number,
    context: number | null,
  ): Value {
    return this.add(
      name,
      { kind: "embedding", positions: context !== null },
      [tokens],
      [...tokens.dims, width],
      [
        { name: `${name}.weight`, dims: [vocabulary, width] },
        ...(context === null ? [] : [{ name: "position_embd.weight", dims: [context, width] }]),
      ],
    );
  }

  rope(name: string, x: Value, heads: number, base: number): Value {
    return this.add(name, { kind: "rope", heads, base, mode: "normal" }, [x], x.dims);
  }

  attention(
    name: string,
    q: Value,
    k: Value,
    v: Value,
    shape: { heads: number; keyHeads: number; causal: boolean },
  ): Value {
    return this.add(name, { kind: "attention", ...shape }, [q, k, v], q.dims);
  }

  swiglu(name: string, gate: Value, up: Value): Value {
    return this.add(name, { kind: "swiglu" }, [gate, up], gate.dims);
  }

  dropout(name: string, x: Value, rate: number): Value {
    return rate === 0 ? x : this.add(name, { kind: "dropout", rate }, [x], x.dims);
  }

  crossEntropy(name: string, logits: Value, labels: Value): Value {
    return this.add(name, { kind: "crossEntropy" }, [logits, labels], [1]);
  }

  /** The graph; its last operator is the loss. */
  build(name: string, batch: number, type: ElementType = "f32"): TrainingGraph {
    return { name, batch, type, inputs: this.inputs, operators: this.operators };
  }

  private pooled(x: Value, { kernel, stride, padding }: Window, ceil: boolean): number[] {
    const [n = 0, c = 0, h = 0, w = 0] = x.dims;
    return [
      n,
      c,
      windowed(h, kernel[0], stride[0], padding[0], ceil),
      windowed(w, kernel[1], stride[1], padding[1], ceil),
    ];
  }
}
