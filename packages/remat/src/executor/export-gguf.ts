/** A trained decoder as a GGUF file that `millrace serve` and llama.cpp load. */
import { MillraceError } from "@millrace/core";
import {
  encoder,
  type MetadataValues,
  type TensorSource,
  vocabularyMetadata,
  type WrittenGguf,
  writeGguf,
} from "@millrace/ggml/gguf";
import type { TrainingGraph } from "../graph/graph.ts";
import type { Operation } from "../graph/operation.ts";
import type { TrainingExecutor } from "./executor.ts";

function operationOf<K extends Operation["kind"]>(graph: TrainingGraph, kind: K) {
  const found = graph.operators.find(({ operation }) => operation.kind === kind);
  if (found === undefined)
    throw new MillraceError(
      "MODEL_UNSUPPORTED",
      `${graph.name} is no decoder of the Llama form: it has no ${kind}`,
      { hint: "give the file the ending .safetensors, which every model can be exported to" },
    );
  return { operator: found, operation: found.operation as Extract<Operation, { kind: K }> };
}

/** Throws MODEL_UNSUPPORTED for a graph that no GGUF file can be written of. */
export function refuseGguf(graph: TrainingGraph): void {
  for (const kind of ["attention", "rope", "rmsNorm", "swiglu"] as const) operationOf(graph, kind);
  const vocabulary = operationOf(graph, "embedding").operator.parameters[0]?.dims[0] ?? 0;
  if (vocabulary < 400)
    throw new MillraceError(
      "MODEL_UNSUPPORTED",
      `a vocabulary of ${vocabulary} tokens is too small for a served model`,
      { hint: "train with a vocabulary of at least 400 tokens" },
    );
}

/** Hyperparameters as llama.cpp names them, read off the graph. */
function metadata(executor: TrainingExecutor, context: number, half: boolean): MetadataValues {
  const { graph } = executor.setup;
  const { operation: attention } = operationOf(graph, "attention");
  const { operation: rope } = operationOf(graph, "rope");
  const { operation: norm } = operationOf(graph, "rmsNorm");
  const { operator: embedding } = operationOf(graph, "embedding");
  const gate = graph.operators.find(({ name }) => name === "blk.0.ffn_gate");
  const [vocabulary = 0, width = 0] = embedding.parameters[0]?.dims ?? [];
  const layers = graph.operators.filter(({ operation }) => operation.kind === "attention").length;
  const u32 = (value: number) => ({ type: "u32", value }) as const;
  const f32 = (value: number) => ({ type: "f32", value }) as const;
  return {
    "general.architecture": { type: "string", value: "llama" },
    "general.name": { type: "string", value: `${graph.name}, trained for ${executor.step} steps` },
    "general.file_type": u32(half ? 1 : 0),
    "general.quantization_version": u32(2),
    "llama.block_count": u32(layers),
    "llama.context_length": u32(context),
    "llama.embedding_length": u32(width),
    "llama.feed_forward_length": u32(gate?.dims.at(-1) ?? 0),
    "llama.attention.head_count": u32(attention.heads),
    "llama.attention.head_count_kv": u32(attention.keyHeads),
    "llama.attention.key_length": u32(width / attention.heads),
    "llama.attention.value_length": u32(width / attention.heads),
    "llama.attention.layer_norm_rms_epsilon": f32(norm.epsilon),
    "llama.rope.dimension_count": u32(width / attention.heads),
    "llama.rope.freq_base": f32(rope.base),
    "llama.vocab_size": u32(vocabulary),
    ...vocabularyMetadata("spm", vocabulary),
  };
}

/**
 * Writes the decoder's parameters with the built-in vocabulary of its size (at least 400 tokens). `type` is that of the
 * matrices. Throws MODEL_UNSUPPORTED for other models, OUTPUT_UNWRITABLE.
 */
export function exportGguf(
  executor: TrainingExecutor,
  path: string,
  options: { readonly type?: "f32" | "f16" } = {},
): WrittenGguf {
  const { type = "f16" } = options;
  const { graph } = executor.setup;
  refuseGguf(graph);
  const context = graph.inputs.find(({ name }) => name === "tokens")?.dims[1] ?? 0;
  const tensors = executor.parameters.map(({ name, dims, value }): TensorSource => {
    const shape = [...dims].reverse();
    const stored = shape.length === 1 ? "f32" : type;
    return {
      name,
      shape,
      type: stored,
      *pieces() {
        const values = executor.values(value);
        const row = shape[0] as number;
        const step = row * Math.max(1, Math.floor((1 << 18) / row));
        const encode = encoder(stored, Math.min(step, values.length), row);
        for (let at = 0; at < values.length; at += step) yield encode(values.slice(at, at + step));
      },
    };
  });
  return writeGguf(path, metadata(executor, context, type === "f16"), tensors);
}
