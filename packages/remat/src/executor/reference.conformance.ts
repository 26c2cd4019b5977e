/**
 * The forward pass of a graph in double precision, written from the definitions of the operators and sharing no code with
 * the kernels: what central differences with short steps are taken of. Orders of elements are the executor's.
 */

import { elements, type TrainingGraph } from "../graph/graph.ts";
import type { Operation } from "../graph/operation.ts";
import { dropout } from "../kernels/host.ts";
import type { BatchData } from "./batch.ts";
import { activationExtents } from "./shapes.ts";

type Values = Float64Array;
type Extents = readonly number[];

interface Operand {
  readonly values: Values;
  readonly ne: Extents;
}

const product = (ne: Extents): number => ne.reduce((n, e) => n * e, 1);

/** The places o of a window's tap that lie in the plane: 0 <= o stride + tap - pad < n, o < outputs. */
function reach(tap: number, stride: number, pad: number, n: number, outputs: number) {
  const from = Math.max(0, Math.ceil((pad - tap) / stride));
  return [from, Math.min(outputs - 1, Math.floor((n - 1 + pad - tap) / stride))] as const;
}

type Conv = Extract<Operation, { kind: "conv2d" | "convTranspose2d" }>;

/** Calls `body` for every pair of input and output elements that a convolution joins, with the weight's place. */
function eachPair(
  op: Conv,
  big: Extents,
  small: Extents,
  groups: number,
  body: (big: number, small: number, weight: number) => void,
): void {
  const [w, h, n, c] = big as [number, number, number, number];
  const [ow, oh, , m] = small as [number, number, number, number];
  const [kh, kw] = op.kernel;
  const [sy, sx] = op.stride;
  const [py, px] = op.padding;
  const inside = c / groups;
  for (let o = 0; o < m; o++)
    for (let i = 0; i < inside; i++)
      for (let ty = 0; ty < kh; ty++)
        for (let tx = 0; tx < kw; tx++) {
          const channel = Math.floor(o / (m / groups)) * inside + i;
          const weight = ((o * inside + i) * kh + ty) * kw + tx;
          const [y0, y1] = reach(ty, sy, py, h, oh);
          const [x0, x1] = reach(tx, sx, px, w, ow);
          for (let image = 0; image < n; image++)
            for (let y = y0; y <= y1; y++) {
              const row = ((channel * n + image) * h + y * sy + ty - py) * w + tx - px;
              const out = ((o * n + image) * oh + y) * ow;
              for (let x = x0; x <= x1; x++) body(row + x * sx, out + x, weight);
            }
        }
}

/** Places of a window of `size` elements at output `o` that lie in [0, n). */
function* places(o: number, size: number, stride: number, pad: number, n: number) {
  for (let tap = 0; tap < size; tap++) {
    const place = o * stride + tap - pad;
    if (place >= 0 && place < n) yield place;
  }
}

function pool(
  op: Extract<Operation, { kind: "maxPool" | "averagePool" }>,
  x: Operand,
  ne: Extents,
): Values {
  const [w, h] = x.ne as [number, number];
  const [ow, oh] = ne as [number, number];
  const [kh, kw] = op.kernel;
  const out = new Float64Array(product(ne));
  for (let plane = 0; plane < out.length / (ow * oh); plane++)
    for (let y = 0; y < oh; y++)
      for (let at = 0; at < ow; at++) {
        let best = Number.NEGATIVE_INFINITY;
        let sum = 0;
        for (const py of places(y, kh, op.stride[0], op.padding[0], h))
          for (const px of places(at, kw, op.stride[1], op.padding[1], w)) {
            const v = x.values[(plane * h + py) * w + px] as number;
            best = Math.max(best, v);
            sum += v;
          }
        out[(plane * oh + y) * ow + at] = op.kind === "maxPool" ? best : sum / (kh * kw);
      }
  return out;
}

/** Nearest neighbours, or bilinear with the centres of pixels at halves. */
function enlarged(
  { scale, mode }: Extract<Operation, { kind: "upsample" }>,
  x: Operand,
  ne: Extents,
): Values {
  const [wide, high] = ne as [number, number];
  const [w, h] = [wide / scale, high / scale];
  const at = (plane: number, row: number, column: number): number =>
    x.values[(plane * h + Math.min(h - 1, row)) * w + Math.min(w - 1, column)] as number;
  return Float64Array.from({ length: product(ne) }, (_, i) => {
    const [plane, row, column] = [
      Math.floor(i / (wide * high)),
      Math.floor(i / wide) % high,
      i % wide,
    ];
    const place = (n: number): number =>
      mode === "nearest" ? Math.floor(n / scale) : Math.max(0, (n + 0.5) / scale - 0.5);
    const [v, u] = [place(row), place(column)];
    const [y0, x0] = [Math.floor(v), Math.floor(u)];
    const line = (y: number): number =>
      (1 - (u - x0)) * at(plane, y, x0) + (u - x0) * at(plane, y, x0 + 1);
    return (1 - (v - y0)) * line(y0) + (v - y0) * line(y0 + 1);
  });
}

/** Rows of `n` elements: (x - mean) / sqrt(variance + epsilon), or without the mean. */
function normalise(x: Values, n: number, epsilon: number, centre: boolean): Values {
  const out = x.slice();
  for (let at = 0; at < x.length; at += n) {
    const row = out.subarray(at, at + n);
    if (centre) {
      const mean = row.reduce((s, v) => s + v, 0) / n;
      for (let i = 0; i < n; i++) row[i] = (row[i] as number) - mean;
    }
    const square = row.reduce((s, v) => s + v * v, 0) / n;
    for (let i = 0; i < n; i++) row[i] = (row[i] as number) / Math.sqrt(square + epsilon);
  }
  return out;
}

function attention(
  op: Extract<Operation, { kind: "attention" }>,
  [q, k, v]: readonly Operand[],
): Values {
  if (q === undefined || k === undefined || v === undefined)
    throw new Error("attention of less than three");
  const [all = 1, tokens = 1] = q.ne;
  const width = all / op.heads;
  const keys = k.ne[0] as number;
  const out = new Float64Array(q.values.length);
  for (let b = 0; b < q.values.length / (all * tokens); b++)
    for (let head = 0; head < op.heads; head++) {
      const shared = Math.floor(head / (op.heads / op.keyHeads));
      for (let i = 0; i < tokens; i++) {
        const at = (b * tokens + i) * all + head * width;
        const seen = op.causal ? i + 1 : tokens;
        const key = (j: number): number => (b * tokens + j) * keys + shared * width;
        const scores = Array.from({ length: seen }, (_, j) => {
          let s = 0;
          for (let d = 0; d < width; d++)
            s += (q.values[at + d] as number) * (k.values[key(j) + d] as number);
          return Math.exp(s / Math.sqrt(width));
        });
        const sum = scores.reduce((s, x) => s + x, 0);
        scores.forEach((score, j) => {
          for (let d = 0; d < width; d++)
            out[at + d] =
              (out[at + d] as number) + (score / sum) * (v.values[key(j) + d] as number);
        });
      }
    }
  return out;
}

function rotated(op: Extract<Operation, { kind: "rope" }>, { values, ne }: Operand): Values {
  const [all = 1, tokens = 1] = ne;
  const width = all / op.heads;
  const out = new Float64Array(values.length);
  for (let at = 0; at < values.length; at += width) {
    const position = Math.floor(at / all) % tokens;
    for (let pair = 0; pair < width / 2; pair++) {
      const [i, j] = op.mode === "normal" ? [2 * pair, 2 * pair + 1] : [pair, pair + width / 2];
      const angle = position * op.base ** ((-2 * pair) / width);
      const [a, b] = [values[at + i] as number, values[at + j] as number];
      out[at + i] = a * Math.cos(angle) - b * Math.sin(angle);
      out[at + j] = a * Math.sin(angle) + b * Math.cos(angle);
    }
  }
  return out;
}

function linear(
  op: Extract<Operation, { kind: "linear" }>,
  x: Operand,
  w: Values,
  bias: Values | undefined,
  ne: Extents,
): Values {
  const out = ne[0] as number;
  const images = op.flatten && x.ne.length === 4;
  const [pw = 1, ph = 1, n = 1] = x.ne;
  const rows = product(ne) / out;
  const width = x.values.length / rows;
  return Float64Array.from({ length: rows * out }, (_, at) => {
    const [row, o] = [Math.floor(at / out), at % out];
    let sum = bias?.[o] ?? 0;
    for (let i = 0; i < width; i++) {
      const plane = Math.floor(i / (pw * ph));
      const place = images ? (plane * n + row) * pw * ph + (i % (pw * ph)) : row * width + i;
      sum += (w[o * width + i] as number) * (x.values[place] as number);
    }
    return sum;
  });
}

/** Mean of -ln softmax(x)[label]. */
function crossEntropy({ values, ne }: Operand, labels: Int32Array): number {
  // Classes of pixels are planes, those of rows adjacent.
  const planes = ne.length === 4;
  const classes = ne[planes ? 3 : 0] as number;
  const rows = values.length / classes;
  let loss = 0;
  for (let r = 0; r < rows; r++) {
    const at = (c: number): number => values[planes ? c * rows + r : r * classes + c] as number;
    let most = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < classes; c++) most = Math.max(most, at(c));
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += Math.exp(at(c) - most);
    loss += Math.log(sum) + most - at(labels[r] as number);
  }
  return loss / rows;
}

/** [N, C, H, W] in the executor's order. */
function image(values: Float32Array, dims: Extents): Operand {
  const [n, c, h, w] = dims as [number, number, number, number];
  const ne = activationExtents(dims);
  const out = Float64Array.from({ length: values.length }, (_, i) => {
    const [plane, place] = [Math.floor(i / (h * w)), i % (h * w)];
    return values[((plane % n) * c + Math.floor(plane / n)) * h * w + place] as number;
  });
  return { values: out, ne };
}

/**
 * The loss of a batch; `parameters` in the graph's order, each in the order of its file. `step` and `seed` are those of
 * dropout's masks, which are taken from the kernel: whether they are random enough is another test's business. With the
 * running statistics of batch norms by operator, the loss is that of the network once training is over.
 */
export function referenceLoss(
  graph: TrainingGraph,
  parameters: readonly Values[],
  batch: BatchData,
  { seed, step }: { readonly seed: number; readonly step: number },
  trained: ReadonlyMap<string, { readonly mean: Values; readonly variance: Values }> | null = null,
): number {
  const outputs: Operand[] = [];
  let taken = 0;
  for (const [index, op] of graph.operators.entries()) {
    const own = op.parameters.map(() => parameters[taken++] as Values);
    const [w, bias] = own;
    const ne = activationExtents(op.dims);
    const given = op.reads.map((r) => batch[graph.inputs[r]?.name ?? ""]);
    const dims = graph.inputs[op.reads[0] ?? 0]?.dims ?? [];
    const xs = op.inputs.map((i) => outputs[i] as Operand);
    const x =
      xs[0] ??
      (given[0] instanceof Float32Array
        ? image(given[0], dims)
        : { values: new Float64Array(), ne: [] });
    const out = new Float64Array(elements(op.dims));
    const each = (f: (v: number, i: number) => number): Values => x.values.map(f);
    const { operation } = op;
    const planeSize = out.length / (ne.at(-1) as number);
    const compute = (): Values => {
      switch (operation.kind) {
        case "conv2d":
        case "convTranspose2d": {
          const up = operation.kind === "convTranspose2d";
          if (bias !== undefined)
            for (let i = 0; i < out.length; i++) out[i] = bias[Math.floor(i / planeSize)] as number;
          const weights = w as Values;
          const groups = operation.kind === "conv2d" ? operation.groups : 1;
          eachPair(operation, up ? ne : x.ne, up ? x.ne : ne, groups, (big, small, at) => {
            const [to, from] = up ? [big, small] : [small, big];
            out[to] = (out[to] as number) + (weights[at] as number) * (x.values[from] as number);
          });
          return out;
        }
        case "batchNorm": {
          const running = trained?.get(op.name);
          const unit =
            running === undefined
              ? normalise(x.values, planeSize, operation.epsilon, true)
              : x.values.map((v, i) => {
                  const c = Math.floor(i / planeSize);
                  const variance = (running.variance[c] as number) + operation.epsilon;
                  return (v - (running.mean[c] as number)) / Math.sqrt(variance);
                });
          return unit.map(
            (v, i) =>
              v * (w?.[Math.floor(i / planeSize)] as number) +
              (bias?.[Math.floor(i / planeSize)] as number),
          );
        }
        case "layerNorm":
        case "rmsNorm": {
          const n = ne[0] as number;
          return normalise(x.values, n, operation.epsilon, operation.kind === "layerNorm").map(
            (v, i) => v * (w?.[i % n] as number) + (bias?.[i % n] ?? 0),
          );
        }
        case "relu":
          return each((v) => Math.max(v, 0));
        case "relu6":
          return each((v) => Math.min(Math.max(v, 0), 6));
        case "gelu":
          return each(
            (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
          );
        case "swiglu":
          return each((v, i) => (v / (1 + Math.exp(-v))) * (xs[1]?.values[i] as number));
        case "add":
          return each((v, i) => v + (xs[1]?.values[i] as number));
        case "concat":
          return Float64Array.from(xs.flatMap(({ values }) => [...values]));
        case "maxPool":
        case "averagePool":
          return pool(operation, x, ne);
        case "globalAveragePool": {
          const [c = 1, n = 1] = ne;
          const area = x.values.length / (c * n);
          return out.map((_, i) => {
            const at = ((i % c) * n + Math.floor(i / c)) * area;
            return x.values.subarray(at, at + area).reduce((s, v) => s + v, 0) / area;
          });
        }
        case "upsample":
          return enlarged(operation, x, ne);
        case "linear":
          return linear(operation, x, w as Values, bias, ne);
        case "dropout": {
          if (trained !== null) return x.values;
          const mask = new Float32Array(out.length).fill(1);
          const bytes = new Uint8Array(mask.buffer);
          dropout(new Map([["m", bytes]]), "m", "m", operation.rate, {
            seed,
            step,
            operator: index,
          });
          return each((v, i) => v * (mask[i] as number));
        }
        case "embedding": {
          const [width = 1, tokens = 1] = ne;
          return out.map((_, i) => {
            const [place, d] = [Math.floor(i / width), i % width];
            const token = given[0]?.[place] as number;
            return (w?.[token * width + d] as number) + (bias?.[(place % tokens) * width + d] ?? 0);
          });
        }
        case "rope":
          return rotated(operation, x);
        case "attention":
          return attention(operation, xs);
        case "crossEntropy":
          return Float64Array.of(crossEntropy(x, given[0] as Int32Array));
        default:
          throw new Error(`the reference has no ${operation.kind}`);
      }
    };
    outputs.push({ values: compute(), ne });
  }
  return outputs.at(-1)?.values[0] as number;
}
