import { describe, expect, test } from "vitest";
import { elements, type TrainingGraph } from "../graph/graph.ts";
import { buildModel, type ModelName, models } from "./index.ts";

const parameters = (graph: TrainingGraph): number =>
  graph.operators
    .flatMap((op) => op.parameters)
    .reduce((sum, parameter) => sum + elements(parameter.dims), 0);

const shapeOf = (graph: TrainingGraph, name: string): readonly number[] | undefined =>
  graph.operators.find((op) => op.name === name)?.dims;

describe("built-in models", () => {
  // torchvision's published counts; TinyLlama 1.1B; GPT-2 small with an output matrix of its own.
  const counts: [ModelName, number][] = [
    ["resnet-18", 11_689_512],
    ["resnet-50", 25_557_032],
    ["vgg-16", 138_357_544],
    ["mobilenet-v2", 3_504_872],
    ["googlenet", 6_624_904],
    ["llama", 1_100_048_384],
    ["gpt", 124_439_808 + 50_257 * 768],
  ];
  test.each(counts)("%s has its published number of parameters", (name, count) => {
    expect(parameters(buildModel(name, { batch: 2 }))).toBe(count);
  });

  test.each(Object.keys(models))("%s is a graph that can run in its order", (name) => {
    const graph = buildModel(name, { batch: 3 });
    expect(new Set(graph.operators.map((op) => op.name)).size).toBe(graph.operators.length);
    const read = new Set<number>();
    for (const [j, op] of graph.operators.entries()) {
      for (const u of op.inputs) {
        expect(u).toBeLessThan(j);
        read.add(u);
      }
      if (j < graph.operators.length - 1) expect(op.dims[0]).toBe(3);
    }
    // Every output but the loss is used.
    expect(read.size).toBe(graph.operators.length - 1);
    expect(graph.operators.at(-1)?.operation.kind).toBe("crossEntropy");
  });

  test("have the shapes of their papers", () => {
    const resnet = buildModel("resnet-50", { batch: 4 });
    expect(shapeOf(resnet, "maxpool")).toEqual([4, 64, 56, 56]);
    expect(shapeOf(resnet, "layer4.2.relu")).toEqual([4, 2048, 7, 7]);
    const google = buildModel("googlenet", { batch: 4 });
    expect(shapeOf(google, "inception3b.concat")).toEqual([4, 480, 28, 28]);
    expect(shapeOf(google, "inception5b.concat")).toEqual([4, 1024, 7, 7]);
    expect(shapeOf(buildModel("unet", { batch: 1 }), "up4.concat")).toEqual([1, 128, 416, 608]);
    expect(shapeOf(buildModel("mobilenet-v2", { batch: 1 }), "features.18.2")).toEqual([
      1, 1280, 7, 7,
    ]);
    const small = buildModel("llama-small", { batch: 2, tokens: 16, layers: 1 });
    expect(shapeOf(small, "blk.0.attn_k")).toEqual([2, 16, 64]);
    expect(shapeOf(small, "output")).toEqual([2, 16, 256]);
  });

  test("an unknown name gets a suggestion", () => {
    expect(() => buildModel("resnet50", { batch: 1 })).toThrow(/no built-in training graph/);
    try {
      buildModel("resnet50", { batch: 1 });
    } catch (error) {
      expect(String((error as { hint?: string }).hint)).toMatch(/did you mean resnet-50/);
    }
  });
});
