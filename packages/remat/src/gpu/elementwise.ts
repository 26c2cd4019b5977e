/** Norms, activations, pools and sums on a GPU: bound by traffic, so that what matters is what they keep. */
import { elements, outputBytes, type TrainingGraph } from "../graph/graph.ts";
import type { Implementations, Need, Work } from "../graph/library.ts";
import { sourceBytes } from "./sources.ts";

const input = (position = 0): Need => ({ kind: "input", position });
const output: Need = { kind: "output" };
const auxiliary: Need = { kind: "auxiliary" };

/** Traffic of `passes` over the output and some flops per element. */
export function passes(graph: TrainingGraph, index: number, count: number, flops = 1): Work {
  const size = elements(graph.operators[index]?.dims ?? []);
  return { class: "memory", flops: flops * size, bytes: count * outputBytes(graph, index) };
}

/** Reads all operands and writes the output, or the other way round. */
export function transfer(graph: TrainingGraph, index: number, flops = 1): Work {
  const bytes = sourceBytes(graph, index) + outputBytes(graph, index);
  return { class: "memory", flops: (flops * bytes) / 4, bytes };
}

/**
 * ReLU and its kin: in place or not, with a mask of one bit per element or not. Backward looks at the output or at the
 * mask; a mask lets the output go.
 */
export function rectifier(graph: TrainingGraph, index: number): Implementations {
  const mask = Math.ceil(elements(graph.operators[index]?.dims ?? []) / 8);
  const plain = passes(graph, index, 2);
  const packed = { ...plain, bytes: plain.bytes + mask };
  const back = passes(graph, index, 3);
  const maskBack = { ...passes(graph, index, 2), bytes: passes(graph, index, 2).bytes + mask };
  return {
    forward: [
      { name: "in place", workspaceBytes: 0, inPlace: 0, work: plain },
      { name: "plain", workspaceBytes: 0, work: plain },
      { name: "in place, mask", workspaceBytes: 0, auxiliaryBytes: mask, inPlace: 0, work: packed },
      { name: "mask", workspaceBytes: 0, auxiliaryBytes: mask, work: packed },
    ],
    backward: [
      { name: "output", workspaceBytes: 0, needs: [output], work: back },
      { name: "output, in place", workspaceBytes: 0, needs: [output], inPlace: 0, work: back },
      { name: "mask, in place", workspaceBytes: 0, needs: [auxiliary], inPlace: 0, work: maskBack },
    ],
  };
}

/** Batch norm: backward from the input, or from the output by inverting the affine map. Statistics are not counted. */
export function batchNorm(graph: TrainingGraph, index: number): Implementations {
  const forward = passes(graph, index, 3, 8);
  // Run again, it has its statistics and passes over the input once (MONeT profiles that apart).
  const again = passes(graph, index, 2, 4);
  const backward = passes(graph, index, 5, 12);
  return {
    forward: [
      { name: "plain", workspaceBytes: 0, work: forward, again },
      { name: "in place", workspaceBytes: 0, inPlace: 0, work: forward, again },
    ],
    backward: [
      { name: "input", workspaceBytes: 0, needs: [input()], work: backward },
      {
        name: "output",
        workspaceBytes: 0,
        needs: [output],
        work: { ...backward, flops: backward.flops * 1.3 },
      },
      {
        name: "output, in place",
        workspaceBytes: 0,
        needs: [output],
        inPlace: 0,
        work: { ...backward, flops: backward.flops * 1.3 },
      },
    ],
  };
}

/** Max pool: backward finds the maxima again in the input, or reads packed indices of 4 bits. */
export function maxPool(graph: TrainingGraph, index: number): Implementations {
  const operation = graph.operators[index]?.operation;
  const window = operation?.kind === "maxPool" ? operation.kernel[0] * operation.kernel[1] : 1;
  const packs = window <= 16;
  const indices = Math.ceil(elements(graph.operators[index]?.dims ?? []) / 2);
  const work = transfer(graph, index);
  const again = { ...work, bytes: work.bytes + sourceBytes(graph, index) };
  return {
    forward: [
      { name: "plain", workspaceBytes: 0, work },
      ...(packs
        ? [
            {
              name: "packed indices",
              workspaceBytes: 0,
              auxiliaryBytes: indices,
              work: { ...work, bytes: work.bytes + indices },
            },
          ]
        : []),
    ],
    backward: [
      { name: "input", workspaceBytes: 0, needs: [input()], work: again },
      ...(packs ? [{ name: "packed indices", workspaceBytes: 0, needs: [auxiliary], work }] : []),
    ],
  };
}

/** One way forward, one way back. */
export function simple(needs: readonly Need[], forward: Work, backward: Work): Implementations {
  return {
    forward: [{ name: "plain", workspaceBytes: 0, work: forward }],
    backward: [{ name: "plain", workspaceBytes: 0, needs, work: backward }],
  };
}

/** Linear maps of one shape, such as rotations and dropout with counter-based masks: in place both ways, nothing kept. */
export function pointwiseLinear(graph: TrainingGraph, index: number): Implementations {
  const work = passes(graph, index, 2, 4);
  return {
    forward: [
      { name: "plain", workspaceBytes: 0, work },
      { name: "in place", workspaceBytes: 0, inPlace: 0, work },
    ],
    backward: [
      { name: "plain", workspaceBytes: 0, needs: [], work },
      { name: "in place", workspaceBytes: 0, needs: [], inPlace: 0, work },
    ],
  };
}
