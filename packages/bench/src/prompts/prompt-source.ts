/** Where prompts come from: words of an exact length, or a file. */
import { MillraceError } from "@millrace/core";
import type { BenchTokenizer, LoadSpec, ScheduledRequest } from "../contracts.ts";
import type { Message } from "../run/body.ts";
import { FilePrompts } from "./file.ts";
import { SyntheticPrompts } from "./synthetic.ts";

export interface PromptSource {
  /** Lengths of the prompts where the source decides them; prompt 0 = not known. */
  readonly lengths: { readonly promptTokens: Int32Array; readonly outputTokens: Int32Array } | null;
  /**
   * New messages of a request, the last one the user's: what its session does not know yet. The same request gives the
   * same messages.
   */
  messages(request: ScheduledRequest): Promise<readonly Message[]>;
}

/**
 * The source that a load names. Throws CONFIG_INVALID for one that cannot work, FILE_UNREADABLE or TRACE_INVALID for a file
 * that cannot be used.
 */
export function promptSource(
  load: LoadSpec,
  seed: string,
  tokenizer: BenchTokenizer | null,
  blockTokens: number,
): PromptSource {
  const { prompts = { type: "synthetic" }, sessions } = load;
  if (prompts.type === "synthetic")
    return new SyntheticPrompts(prompts, seed, tokenizer, blockTokens);
  if (sessions !== undefined)
    throw new MillraceError(
      "CONFIG_INVALID",
      "sessions need synthetic prompts, not those of a file",
      {
        hint: "leave out the sessions or the prompt file",
      },
    );
  return new FilePrompts(prompts, seed);
}
