/** From request fields to the engine's sampling parameters. */
import { randomInt } from "node:crypto";
import type { ModelCard, SamplingParams } from "../contracts.ts";
import { badRequest } from "./api-error.ts";
import type { GenerationFields } from "./fields.ts";

/** Seeds are 32 bit; others are folded into that range, so that any integer of a client gives the same run again. */
function foldSeed(seed: number): number {
  return ((seed % 2 ** 32) + 2 ** 32) % 2 ** 32;
}

function parseBias(given: Readonly<Record<string, number>>, card: ModelCard): Map<number, number> {
  const bias = new Map<number, number>();
  for (const [key, value] of Object.entries(given)) {
    const token = Number(key);
    if (!/^\d+$/.test(key) || token >= card.vocabularySize) {
      throw badRequest(
        `\`logit_bias\`: ${JSON.stringify(key.slice(0, 40))} is not a token id of this model (0 … ${card.vocabularySize - 1}).`,
        "logit_bias",
        "invalid_value",
      );
    }
    bias.set(token, value);
  }
  return bias;
}

/**
 * Sampling of a request; `logprobs` is the number of alternatives wanted, -1 for no logprobs. Choice i of a request
 * samples with `forChoice(i)`: one seed for the request, its own stream for each choice.
 */
export function samplingOf(
  fields: GenerationFields,
  logprobs: number,
  card: ModelCard,
): { readonly forChoice: (choice: number) => SamplingParams } {
  const seed = foldSeed(fields.seed ?? randomInt(2 ** 32));
  const shared = {
    temperature: fields.temperature,
    topK: Math.max(0, fields.top_k),
    // A nucleus of 0 holds the likeliest token alone.
    topP: fields.top_p === 0 ? 1e-6 : fields.top_p,
    minP: Math.min(fields.min_p, 1 - 1e-6),
    repetitionPenalty: fields.repetition_penalty,
    presencePenalty: fields.presence_penalty,
    frequencyPenalty: fields.frequency_penalty,
    logitBias: parseBias(fields.logit_bias ?? {}, card),
    logprobs,
  };
  return { forChoice: (choice) => ({ ...shared, seed: foldSeed(seed + choice) }) };
}
