/**
 * What PyTorch runs: one implementation per operator, the first of the GPU library, with max pools that keep 64-bit
 * indices beside their input. The reference for memory ratios and overheads, and what Checkmate plans with.
 */
import { elements } from "../graph/graph.ts";
import type { OperatorLibrary } from "../graph/library.ts";
import { gpuLibrary } from "./library.ts";

/** ATen's max_pool2d_with_indices saves int64 indices. */
const indexBytes = 8;

export const pytorchLibrary: OperatorLibrary = {
  name: "pytorch",
  implementations(graph, index) {
    const op = graph.operators[index];
    const { forward, backward } = gpuLibrary.implementations(graph, index);
    const [ahead] = forward;
    const [back] = backward;
    if (ahead === undefined || back === undefined) return { forward, backward };
    if (op?.operation.kind !== "maxPool") return { forward: [ahead], backward: [back] };
    const auxiliaryBytes = elements(op.dims) * indexBytes;
    return {
      forward: [
        {
          ...ahead,
          auxiliaryBytes,
          work: { ...ahead.work, bytes: ahead.work.bytes + auxiliaryBytes },
        },
      ],
      backward: [{ ...back, needs: [{ kind: "input", position: 0 }, { kind: "auxiliary" }] }],
    };
  },
};
