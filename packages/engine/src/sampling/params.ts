/** Sampling parameters with nothing asked for. */
import type { SamplingParams } from "../contracts.ts";

/** Temperature 1, everything else off, seed 0, no logprobs. */
export const defaultSampling: SamplingParams = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: new Map(),
  seed: 0,
  logprobs: -1,
};

/** Greedy decoding: always the most likely token. */
export const greedySampling: SamplingParams = { ...defaultSampling, temperature: 0 };
