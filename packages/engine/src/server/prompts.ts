/** Prompts of requests as token ids. */
import type { EngineClient } from "../contracts.ts";
import type { Prompts } from "./fields.ts";

/** Token ids of prompts; texts get the special tokens that the model's tokeniser adds. */
export function tokenizePrompts(
  client: Pick<EngineClient, "tokenize">,
  prompts: Prompts,
): Promise<Int32Array[]> {
  return Promise.all(
    prompts.map((prompt) =>
      typeof prompt === "string"
        ? client.tokenize(prompt, { addSpecial: true, parseSpecial: true })
        : Int32Array.from(prompt),
    ),
  );
}
