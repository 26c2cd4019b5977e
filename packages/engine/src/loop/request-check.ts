/** What must hold of a request before it may touch the engine. */
import { MillraceError } from "@millrace/core";
import type { GenerateRequest } from "../contracts.ts";

/** @throws MillraceError CONFIG_INVALID that names the first bad value. */
export function checkRequest(request: GenerateRequest, vocabularySize: number): void {
  const { prompt, maxTokens, minTokens } = request;
  if (prompt.length === 0)
    refuse("the prompt has no tokens", "give at least one token, such as the model's bos token");
  const forced = request.forced ?? new Int32Array();
  if (forced.length > maxTokens)
    refuse(
      `${forced.length} tokens are forced, but maxTokens is ${maxTokens}`,
      "forced tokens count as new ones",
    );
  for (const tokens of [prompt, forced])
    for (const token of tokens)
      if (token < 0 || token >= vocabularySize)
        refuse(
          `prompt token ${token} is not in the vocabulary`,
          `tokens are 0 … ${vocabularySize - 1}`,
        );
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1)
    refuse(`maxTokens is ${maxTokens}`, "maxTokens is a whole number of at least 1");
  if (!Number.isSafeInteger(minTokens) || minTokens < 0)
    refuse(`minTokens is ${minTokens}`, "minTokens is a whole number of at least 0");
  if (Number.isNaN(request.deadlineSeconds))
    refuse("deadlineSeconds is not a number", "give seconds from now, or Infinity");
  if (!Number.isSafeInteger(request.priority) || Math.abs(request.priority) > 2 ** 31 - 1)
    refuse(`priority is ${request.priority}`, "priority is a whole number of 32 bits");
}

function refuse(what: string, hint: string): never {
  throw new MillraceError("CONFIG_INVALID", what, { hint });
}
