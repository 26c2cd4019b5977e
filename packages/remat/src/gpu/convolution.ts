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
/** Slices of the batch that a caller makes, to use fast kernels in little workspace (Oyama et al., 2018: µ-cuDNN). */
const smallSlice = 2 ** 26;

/** A way to compute a convolution or one of its gradients. */
interface Algorithm {
  readonly name: string;
  readonly workspaceBytes: number;
  readonly speed: number;
  readonly kernels: number;
}

/** Ways to run a convolution, the one that cuDNN would pick first. */
function algorithms(graph: TrainingGraph, index: number): Algorithm[] {
  const op = graph.operators[index];
  const operation = op?.operation;
  if (op === undefined || (operation?.kind !== "conv2d" && operation?.kind !== "convTranspose2d"))
    return [];
  if (operation.kind === "conv2d" && operation.groups > 1)
    return [{ name: "depthwise", workspaceBytes: 0, speed: 1, kernels: 1 }];
  const [kh, kw] = operation.kernel;
  const tiled =
    operation.kind === "conv2d" &&
    kh === 3 &&
    kw === 3 &&
    operation.stride[0] === 1 &&
    operation.stride[1] === 1 &&
    (sourceDims(graph, index, 0)[1] as number) >= 16;
  const lean: Algorithm = { name: "implicit", workspaceBytes: 0, speed: leanSpeed, kernels: 1 };
  if (!tiled) {
    const workspaceBytes = (op.dims[2] ?? 1) * (op.dims[3] ?? 1) * kh * kw * 4;
    return [{ name: "precomputed", workspaceBytes, speed: 1, kernels: 1 }, lean];
  }
  const whole = 4 * (sourceBytes(graph, index) + outputBytes(graph, index));
  const winograd = (name: string, slice: number): Algorithm => ({
    name,
    workspaceBytes: Math.min(whole, slice),
    speed: winogradSpeed,
    kernels: Math.ceil(whole / slice),
  });
  const all = [winograd("winograd", winogradSlice)];
  if (whole > smallSlice) all.push(winograd("winograd in slices", smallSlice));
  return [...all, lean];
}

/**
 * A convolution: fast with workspace, in slices, or slower without; backward at once or in two halves, the gradient of
 * the weights first, each half by an algorithm of its own.
 */
export function convolution(graph: TrainingGraph, index: number): Implementations {
  const op = graph.operators[index];
  const operation = op?.operation;
  const ways = algorithms(graph, index);
  const [fast] = ways;
  if (op === undefined || operation === undefined || fast === undefined)
    return { forward: [], backward: [] };
  const weight = elements(op.parameters[0]?.dims ?? []);
  // Multiply-adds of each output element, or of each input element when transposed.
  const flops =
    operation.kind === "convTranspose2d"
      ? (2 * elements(sourceDims(graph, index, 0)) * weight) /
        (sourceDims(graph, index, 0)[1] as number)
      : (2 * elements(op.dims) * weight) / (op.dims[1] as number);
  const bytes = sourceBytes(graph, index) + outputBytes(graph, index) + parameterBytes(graph, op);
  const work = (halves: readonly Algorithm[]): Work => {
    const sum = halves.reduce((total, way) => total + 1 / way.speed, 0);
    return {
      class: fast.name === "depthwise" ? "memory" : "convolution",
      flops: flops * halves.length,
      bytes: bytes * halves.length,
      efficiency: halves.length / sum,
      kernels: halves.reduce((total, way) => total + way.kernels, 0),
    };
  };
  const forward = ways.map(
    (way): ForwardImplementation => ({
      name: way.name,
      workspaceBytes: way.workspaceBytes,
      work: work([way]),
    }),
  );
  // The first operator has no input gradient.
  if (op.inputs.length === 0)
    return {
      forward,
      backward: ways.map((way) => ({
        name: way.name,
        workspaceBytes: way.workspaceBytes,
        needs: [],
        work: work([way]),
      })),
    };
  const needs = [{ kind: "input", position: 0 } as const];
  const halves = (weights: Algorithm, inputs: Algorithm): BackwardImplementation => ({
    name: weights === inputs ? `${weights.name}, halves` : `${weights.name}, ${inputs.name}`,
    workspaceBytes: inputs.workspaceBytes,
    needs,
    split: { workspaceBytes: weights.workspaceBytes, frees: [0] },
    work: work([weights, inputs]),
  });
  const backward: BackwardImplementation[] = [
    { name: fast.name, workspaceBytes: fast.workspaceBytes, needs, work: work([fast, fast]) },
    ...ways.map((way) => halves(way, way)),
  ];
  // Between the halves the input goes: what did not fit before may fit then.
  if (ways.length === 3) backward.push(halves(ways[1] as Algorithm, fast));
  if (ways.length === 3) backward.push(halves(ways[2] as Algorithm, ways[1] as Algorithm));
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
