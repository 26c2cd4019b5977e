/** Deadlines of the first token: one for all, or by prompt length from a measured prefill curve. */
import { MillraceError } from "@millrace/core";
import type { PrefillCurve, RequestRecord, TtftTarget } from "../contracts.ts";

/** How far beyond its longest measured prompt a curve still answers. */
export const EXTRAPOLATION = 1.25;

/** Seconds of a prefill of `tokens` tokens. Throws CONFIG_INVALID beyond EXTRAPOLATION times the longest measured. */
export function prefillSeconds(curve: PrefillCurve, tokens: number): number {
  if (tokens > curve.maxTokens * EXTRAPOLATION)
    throw new MillraceError(
      "CONFIG_INVALID",
      `a prompt of ${tokens} tokens is beyond the prefill curve, which was measured up to ${curve.maxTokens}`,
      {
        hint: "measure longer prompts with millrace bench prefill, or give one target with --ttft",
      },
    );
  return curve.constant + curve.linear * tokens + curve.quadratic * tokens * tokens;
}

/** Target of the first token, whole µs, for a prompt of so many tokens. */
export function ttftTargetUs(target: TtftTarget, promptTokens: number): number {
  if (target.type === "constant") return target.us;
  return Math.round(prefillSeconds(target.curve, promptTokens) * 1e6) + target.slackUs;
}

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
