/**
 * Data of one step: what fits a graph, and how it gets into the step's memory. A batch is a stream of bytes, the network
 * inputs one after the other in the graph's order of dimensions, so that it goes where it belongs plane by plane and no
 * copy of it exists beside the plan's memory.
 */
import { MillraceError } from "@millrace/core";
import { elements, type TrainingGraph } from "../graph/graph.ts";
import { labelPlaces } from "./operators/loss.ts";
import { classesOf } from "./shapes.ts";

/** By network input: f32 in the graph's order of dimensions, i32 for tokens and labels. */
export type BatchData = Readonly<Record<string, Float32Array | Int32Array>>;

/** Fills `into` with the next bytes of a batch. */
export type BatchStream = (into: Uint8Array) => void;

/** A batch's bytes in the order of the stream, not copied. Throws DATASET_INVALID when it does not fit the graph's inputs. */
export function batchPieces(graph: TrainingGraph, batch: BatchData): readonly Uint8Array[] {
  return graph.inputs.map(({ name, dims, type }) => {
    const given = batch[name];
    const wanted = type === "i32" ? Int32Array : Float32Array;
    if (!(given instanceof wanted) || given.length !== elements(dims))
      throw new MillraceError(
        "DATASET_INVALID",
        `the batch needs ${elements(dims)} ${type} values of ${name}, not ${given?.length ?? "none"}`,
      );
    return new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
  });
}

/** The stream of a batch that is in this process. */
export function streamOf(graph: TrainingGraph, batch: BatchData): BatchStream {
  const pieces = batchPieces(graph, batch);
  let piece = 0;
  let at = 0;
  return (into) => {
    const from = pieces[piece] as Uint8Array;
    into.set(from.subarray(at, at + into.length));
    at += into.length;
    if (at === from.length) {
      piece += 1;
      at = 0;
    }
  };
}

/**
 * Reads a whole batch into the memory of the network inputs, each in the executor's order. Throws DATASET_INVALID for a
 * number that is no row or no class, since ggml would end the process; the stream is then read to its end all the same.
 */
export function loadBatch(
  graph: TrainingGraph,
  stream: BatchStream,
  memoryOf: (input: number) => Uint8Array,
): void {
  let bad: MillraceError | null = null;
  graph.inputs.forEach(({ dims, type }, i) => {
    const memory = memoryOf(i);
    if (type === "i32") {
      stream(memory);
      bad ??= checkNumbers(graph, i, memory);
    } else if (dims.length === 4) loadImages(stream, dims, memory);
    else stream(memory);
  });
  if (bad !== null) throw bad;
}

/** Tokens are row numbers, labels places among logits: checks them, and turns labels into what the loss reads. */
function checkNumbers(graph: TrainingGraph, input: number, memory: Uint8Array) {
  const numbers = new Int32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4);
  const reader = graph.operators.find(({ reads }) => reads.includes(input));
  const isLabel = reader?.operation.kind === "crossEntropy";
  const source = isLabel ? graph.operators[reader.inputs[0] as number]?.dims : undefined;
  const limit = isLabel ? classesOf(source ?? []) : (reader?.parameters[0]?.dims[0] as number);
  const wrong = numbers.find((value) => value < 0 || value >= limit);
  if (wrong !== undefined)
    return new MillraceError(
      "DATASET_INVALID",
      `${graph.inputs[input]?.name} holds ${wrong}, which is not in 0 … ${limit - 1}`,
    );
  if (isLabel) labelPlaces(numbers, limit, numbers);
  return null;
}

/** [N, C, H, W] to the executor's order, in which a channel's images are adjacent. */
function loadImages(stream: BatchStream, dims: readonly number[], into: Uint8Array): void {
  const [n, c, h, w] = dims as readonly [number, number, number, number];
  const plane = 4 * h * w;
  for (let image = 0; image < n; image++)
    for (let channel = 0; channel < c; channel++) {
      const at = (channel * n + image) * plane;
      stream(into.subarray(at, at + plane));
    }
}
