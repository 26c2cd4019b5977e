/**
 * Made-up tasks that a network can learn, so that a run shows its loss fall without a data set: images of ten noisy
 * patterns, and texts in which the next token follows from the last. Batches follow from seed and number alone.
 */
import { Rng } from "@millrace/core";
import { elements, type TrainingGraph } from "../graph/graph.ts";
import type { BatchData } from "./batch.ts";
import { classesOf } from "./shapes.ts";

/** Share of tokens that follow no rule. */
const noise = 0.05;

function classesIn(graph: TrainingGraph): number {
  const loss = graph.operators.at(-1);
  return classesOf(graph.operators[loss?.inputs[0] ?? 0]?.dims ?? [1]);
}

/** Each class is a pattern of its own, seen through noise. Labels of pixels say where the pattern is bright. */
function images(graph: TrainingGraph, seed: number, number: number): BatchData {
  const input = graph.inputs.find(({ type }) => type === "f32");
  const [n = 0, ...rest] = input?.dims ?? [];
  const pixels = elements(rest);
  const classes = graph.inputs.find(({ type }) => type === "i32");
  const labels = new Int32Array(elements(classes?.dims ?? [n]));
  const perPixel = labels.length / n;
  const values = new Float32Array(n * pixels);
  const patterns = new Map<number, Float32Array>();
  const rng = new Rng(`images/${seed}/${number}`);
  for (let i = 0; i < n; i++) {
    const label = rng.int(0, (perPixel > 1 ? 10 : Math.min(classesIn(graph), 10)) - 1);
    if (perPixel === 1) labels[i] = label;
    let pattern = patterns.get(label);
    if (pattern === undefined) {
      const own = new Rng(`pattern/${seed}/${label}`);
      pattern = Float32Array.from({ length: pixels }, () => own.normal());
      patterns.set(label, pattern);
    }
    if (perPixel > 1)
      for (let p = 0; p < perPixel; p++)
        labels[i * perPixel + p] = (pattern[p] as number) > 0 ? 1 : 0;
    for (let p = 0; p < pixels; p++)
      values[i * pixels + p] = 0.5 * (pattern[p] as number) + (rng.next() - 0.5) * 3;
  }
  return Object.fromEntries(
    graph.inputs.map(({ name, type }) => [name, type === "i32" ? labels : values]),
  );
}

/** Token t is followed by 5 t + 3, mostly; the label of a place is the token after it. */
function texts(graph: TrainingGraph, seed: number, number: number): BatchData {
  const [sequences = 0, length = 0] = graph.inputs[0]?.dims ?? [];
  const vocabulary = classesIn(graph);
  const tokens = new Int32Array(sequences * length);
  const labels = new Int32Array(sequences * length);
  const rng = new Rng(`texts/${seed}/${number}`);
  for (let s = 0; s < sequences; s++) {
    let token = rng.int(0, vocabulary - 1);
    for (let t = 0; t < length; t++) {
      tokens[s * length + t] = token;
      token = rng.next() < noise ? rng.int(0, vocabulary - 1) : (5 * token + 3) % vocabulary;
      labels[s * length + t] = token;
    }
  }
  return { tokens, labels };
}

/** Batch `number` of the task that suits the graph's inputs. */
export function syntheticBatch(graph: TrainingGraph, seed: number, number: number): BatchData {
  return graph.inputs.some(({ type }) => type === "f32")
    ? images(graph, seed, number)
    : texts(graph, seed, number);
}
