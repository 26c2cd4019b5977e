/** Convolutions and linear operators on a GPU, after what cuDNN and cuBLAS offer for training in 32 bits. */
import { elements, outputBytes, parameterBytes, type TrainingGraph } from "../graph/graph.ts";
import type {
  BackwardImplementation,
  ForwardImplementation,
  Implementations,
  Work,
} from "../graph/library.ts";
import { sourceBytes, sourceDims } from "./sources.ts";

/** Winograd F(2x2, 3x3): 2.25 times fewer multiplications, of which transforms take a part back. */
const winogradSpeed = 1.6;
/** Implicit GEMM without precomputed offsets. */
const leanSpeed = 0.85;
/** Transformed tiles of input and output: 4x4 for every 2x2 outputs are 4 times the data, in slices of at most this. */
const winogradSlice = 2 ** 30;

/** A convolution: fast with workspace or slower without; backward in one or in two halves. */
export function convolution(graph: TrainingGraph, index: number): Implementations {
  const op = graph.operators[index];
  const operation = op?.operation;
  if (op === undefined || (operation?.kind !== "conv2d" && operation?.kind !== "convTranspose2d"))
    return { forward: [], backward: [] };
  const dims = sourceDims(graph, index, 0);
  const perOutput = elements(op.parameters[0]?.dims ?? []) / (op.dims[1] as number);
  const transposed = operation.kind === "convTranspose2d";
  const groups = transposed ? 1 : operation.groups;
  // Multiply-adds of each output element, or of each input element when transposed.
  const flops = transposed
    ? (2 * elements(dims) * elements(op.parameters[0]?.dims ?? [])) / (dims[1] as number)
    : 2 * elements(op.dims) * perOutput;
  const bytes = sourceBytes(graph, index) + outputBytes(graph, index) + parameterBytes(graph, op);
  const depthwise = groups > 1;
  const [kh, kw] = operation.kernel;
  const tiled =
    !depthwise &&
    !transposed &&
    kh === 3 &&
    kw === 3 &&
    operation.stride[0] === 1 &&
    operation.stride[1] === 1 &&
    (dims[1] as number) >= 16;
  const workspace = tiled
    ? Math.min(4 * (sourceBytes(graph, index) + outputBytes(graph, index)), winogradSlice)
    : (op.dims[2] ?? 1) * (op.dims[3] ?? 1) * kh * kw * 4;
  const work = (share: number, speed: number, kernels: number): Work => ({
    class: depthwise ? "memory" : "convolution",
    flops: flops * share,
    bytes: bytes * share,
    efficiency: speed,
    kernels,
  });
  const fast = tiled ? winogradSpeed : 1;
  const name = depthwise ? "depthwise" : tiled ? "winograd" : "precomputed";
  const forward: ForwardImplementation[] = [
    { name, workspaceBytes: depthwise ? 0 : workspace, work: work(1, fast, 1) },
  ];
  if (!depthwise)
    forward.push({ name: "implicit", workspaceBytes: 0, work: work(1, leanSpeed, 1) });
  // The first operator has no input gradient.
  const first = op.inputs.length === 0;
  const share = first ? 1 : 2;
  const needs = first ? [] : [{ kind: "input", position: 0 } as const];
  const backward: BackwardImplementation[] = [
    { name, workspaceBytes: depthwise ? 0 : workspace, needs, work: work(share, fast, share) },
  ];
  if (!first) {
    const split = { frees: [0] };
    backward.push({
      name: `${name}, halves`,
      workspaceBytes: depthwise ? 0 : workspace,
      needs,
      split: { ...split, workspaceBytes: depthwise ? 0 : workspace },
      work: work(share, fast, share),
    });
    if (!depthwise)
      backward.push({
        name: "implicit, halves",
        workspaceBytes: 0,
        needs,
        split: { ...split, workspaceBytes: 0 },
        work: work(share, leanSpeed, share),
      });
  }
  return { forward, backward };
}

/** A matrix product with a weight; backward in one or in two halves. */
export function linear(graph: TrainingGraph, index: number): Implementations {
  const op = graph.operators[index];
  if (op === undefined) return { forward: [], backward: [] };
  const width = op.parameters[0]?.dims[1] as number;
  const flops = 2 * elements(op.dims) * width;
  const bytes = sourceBytes(graph, index) + outputBytes(graph, index) + parameterBytes(graph, op);
  const first = op.inputs.length === 0;
  const share = first ? 1 : 2;
  const needs = first ? [] : [{ kind: "input", position: 0 } as const];
  const work = (times: number): Work => ({
    class: "matrix",
    flops: flops * times,
    bytes: bytes * times,
    kernels: times,
  });
  return {
    forward: [{ name: "gemm", workspaceBytes: 0, work: work(1) }],
    backward: [
      { name: "gemm", workspaceBytes: 0, needs, work: work(share) },
      ...(first
        ? []
        : [
            {
              name: "gemm, halves",
              workspaceBytes: 0,
              needs,
              split: { workspaceBytes: 0, frees: [0] },
              work: work(share),
            },
          ]),
    ],
  };
}
