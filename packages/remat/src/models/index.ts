/** The built-in models: what `millrace memory models` lists. Each makes a training graph at any batch size. */
import { didYouMean, MillraceError } from "@millrace/core";
import type { TrainingGraph } from "../graph/graph.ts";
import { googlenet } from "./googlenet.ts";
import { mobilenetV2 } from "./mobilenet.ts";
import type { ModelOptions } from "./options.ts";
import { resnet18, resnet50, resnetSmall } from "./resnet.ts";
import { bert, bertSmall, gpt, gptSmall, llama, llamaSmall } from "./transformer.ts";
import { unet } from "./unet.ts";
import { vgg16 } from "./vgg.ts";

/** Makes the graph of one model. */
export type ModelGenerator = (options: ModelOptions) => TrainingGraph;

/** By name, in the order in which they are listed. */
export const models = {
  "resnet-18": resnet18,
  "resnet-50": resnet50,
  "resnet-small": resnetSmall,
  "vgg-16": vgg16,
  "mobilenet-v2": mobilenetV2,
  googlenet,
  unet,
  llama,
  "llama-small": llamaSmall,
  gpt,
  "gpt-small": gptSmall,
  bert,
  "bert-small": bertSmall,
} as const satisfies Record<string, ModelGenerator>;

/** A name of `models`. */
export type ModelName = keyof typeof models;

/** The graph of a built-in model. Throws MillraceError MODEL_UNKNOWN. */
export function buildModel(name: string, options: ModelOptions): TrainingGraph {
  const generator = (models as Record<string, ModelGenerator>)[name];
  if (generator !== undefined) return generator(options);
  const names = Object.keys(models);
  const near = didYouMean(name, names);
  throw new MillraceError("MODEL_UNKNOWN", `no built-in training graph ${JSON.stringify(name)}`, {
    hint: `${near === null ? "" : `did you mean ${near}? `}there are ${names.join(", ")}`,
  });
}
