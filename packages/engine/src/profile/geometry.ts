/** What the cost of a model file's steps depends on, from its header. */
import { modelInfo, openGguf } from "@millrace/ggml/gguf";
import type { StepGeometry } from "@millrace/serving";

/** Reads a GGUF file. Throws like `readModelCard`. */
export function stepGeometry(path: string): StepGeometry {
  using gguf = openGguf(path);
  const { layers, heads, headDim, formats } = modelInfo(gguf);
  const matrices = gguf.tensors.filter(({ shape }) => shape.length === 2);
  const elements = (of: typeof matrices): number =>
    of.reduce((sum, tensor) => sum + tensor.elements, 0);
  // A tied model multiplies by its embedding table.
  const head =
    matrices.find(({ name }) => name === "output.weight") ??
    matrices.find(({ name }) => name === "token_embd.weight");
  return {
    layers,
    attentionWidth: heads * headDim,
    layerParameters: elements(matrices.filter(({ name }) => name.startsWith("blk."))),
    headParameters: head?.elements ?? 1,
    format: formats[0]?.type ?? "f32",
  };
}
