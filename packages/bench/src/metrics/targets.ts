/** Deadlines of the first token: one for all, or by prompt length from a measured prefill curve. */
import { MillraceError } from "@millrace/core";
import type { RequestRecord, TtftTarget } from "../contracts.ts";
import { ttftTargetUs } from "../prefill/curve.ts";

export { prefillSeconds, ttftTargetUs } from "../prefill/curve.ts";

/** Prompt tokens of a request: what the server counted, else what was asked for. Null when nobody knows. */
export function promptTokensOf(
  record: Pick<RequestRecord, "usage" | "askedPromptTokens">,
): number | null {
  return record.usage?.promptTokens ?? record.askedPromptTokens;
}

/** Target of a record. Throws CONFIG_INVALID when a curve needs a prompt length that nobody knows. */
export function recordTargetUs(target: TtftTarget, record: RequestRecord): number {
  if (target.type === "constant") return target.us;
  const tokens = promptTokensOf(record);
  if (tokens === null)
    throw new MillraceError(
      "CONFIG_INVALID",
      `request ${record.id}: its prompt length is not known, and the TTFT target depends on it`,
      { hint: "give --tokenizer, or one target for all with --ttft" },
    );
  return ttftTargetUs(target, tokens);
}
