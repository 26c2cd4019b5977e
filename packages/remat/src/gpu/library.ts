/**
 * Implementations on a GPU, for planning: what cuDNN-like kernels, in-place activations and MONeT's packed masks and
 * output-activated operators take (MONeT, section 4.2 and appendix). First choices are what PyTorch does, with in-place
 * ReLU and the fastest convolutions. Nothing here was measured; times are a roofline's.
 */

import { elements, outputBytes, type TrainingGraph } from "../graph/graph.ts";
import type { Implementations, Need, OperatorLibrary } from "../graph/library.ts";
import { activations } from "../graph/operation.ts";
import { convolution, linear } from "./convolution.ts";
import {
  batchNorm,
  maxPool,
  passes,
  pointwiseLinear,
  rectifier,
  simple,
  transfer,
} from "./elementwise.ts";
import { sourceBytes } from "./sources.ts";

const inputs = (count: number): Need[] =>
  Array.from({ length: count }, (_, position) => ({ kind: "input", position }));

function attention(graph: TrainingGraph, index: number): Implementations {
  const op = graph.operators[index];
  const operation = op?.operation;
  if (op === undefined || operation?.kind !== "attention") return { forward: [], backward: [] };
  const [batch = 1, tokens = 1, width = 1] = op.dims;
  // Two products of tokens x tokens x width; half of it behind a causal mask.
  const flops = 4 * batch * tokens * tokens * width * (operation.causal ? 0.5 : 1);
  const bytes = sourceBytes(graph, index) + outputBytes(graph, index);
  const sums = batch * operation.heads * tokens * 4;
  const work = (share: number) =>
    ({ class: "matrix", flops: flops * share, bytes: bytes * share, efficiency: 0.7 }) as const;
  const needed = op.inputs.length === 3 ? inputs(3) : inputs(op.inputs.length);
  return {
    forward: [
      { name: "flash", workspaceBytes: sums, work: work(1) },
      { name: "flash, row sums kept", workspaceBytes: 0, auxiliaryBytes: sums, work: work(1) },
    ],
    backward: [
      { name: "from inputs", workspaceBytes: 2 * sums, needs: needed, work: work(3.5) },
      {
        name: "from row sums",
        workspaceBytes: sums,
        needs: [...needed, { kind: "output" }, { kind: "auxiliary" }],
        work: work(2.5),
      },
    ],
  };
}

function implementations(graph: TrainingGraph, index: number): Implementations {
  const op = graph.operators[index];
  const operation = op?.operation;
  if (op === undefined || operation === undefined) return { forward: [], backward: [] };
  const own = (count: number, flops = 1) => passes(graph, index, count, flops);
  const move = transfer(graph, index);
  switch (operation.kind) {
    case "conv2d":
    case "convTranspose2d":
      return convolution(graph, index);
    case "linear":
      return linear(graph, index);
    case "batchNorm":
      return batchNorm(graph, index);
    case "relu":
    case "relu6":
      return rectifier(graph, index);
    case "maxPool":
      return maxPool(graph, index);
    case "averagePool":
    case "globalAveragePool":
    case "upsample":
    case "copy":
    case "reduce":
    case "concat":
    case "embedding":
      return simple([], move, move);
    case "layerNorm":
    case "rmsNorm":
      return simple(inputs(1), own(3, 8), own(5, 12));
    case "gelu":
      return simple(inputs(1), own(2, 12), own(3, 20));
    case "swiglu":
      return simple(inputs(2), own(3, 8), own(5, 14));
    case "multiply":
      return simple(inputs(op.inputs.length), own(3), own(5));
    case "dropout":
    case "rope":
      return pointwiseLinear(graph, index);
    case "add": {
      // The gradient of both operands is the gradient of the sum: one is its storage, the other a copy.
      const whole = op.inputs.findIndex((u) => outputBytes(graph, u) === outputBytes(graph, index));
      const base = simple([], own(3), own(2));
      return whole >= 0
        ? { ...base, backward: base.backward.map((choice) => ({ ...choice, inPlace: whole })) }
        : base;
    }
    case "attention":
      return attention(graph, index);
    case "softmax":
      return simple([{ kind: "output" }], own(3, 6), own(3, 4));
    case "activation":
      if (activations[operation.function] === "nothing") return pointwiseLinear(graph, index);
      return simple(
        activations[operation.function] === "input" ? inputs(1) : [{ kind: "output" }],
        own(2, 8),
        own(3, 8),
      );
    case "crossEntropy": {
      const bytes = sourceBytes(graph, index);
      const work = { class: "memory", flops: bytes, bytes: 2 * bytes } as const;
      return simple(inputs(op.inputs.length), work, work);
    }
    case "matmul": {
      const [a = 0] = op.inputs;
      const inner = graph.operators[a]?.dims.at(-1) ?? 1;
      const flops = 2 * elements(op.dims) * inner;
      const work = (share: number) =>
        ({ class: "matrix", flops: flops * share, bytes: move.bytes * share }) as const;
      return simple(inputs(op.inputs.length), work(1), work(2));
    }
    case "opaque":
      return simple([...inputs(op.inputs.length), { kind: "output" }], move, own(4));
  }
}

/** The library of planning on GPUs. */
export const gpuLibrary: OperatorLibrary = { name: "gpu", implementations };
