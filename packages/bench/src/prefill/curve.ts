/**
 * The prefill curve: what an idle server needs from a request to its first token, over the length of the prompt. It is
 * what deadlines of first tokens are made of (Metron, section 4.2; bench.md 1.3): a long prompt may take longer, by as
 * much as it takes on an idle server. Owns evaluation and its limits; fitting is in fit.ts, measuring in measure.ts.
 */
import { formatNumber, MillraceError } from "@millrace/core";
import type { PrefillCurve, TtftTarget } from "../contracts.ts";

/** Beyond this multiple of the longest prompt that was measured a curve does not answer. */
export const REACH = 1.25;

/** What to do with prompts beyond the reach of a curve. */
export interface CurveReach {
  /** `refuse` (default) throws; `extend` goes on along the quadratic, which is a guess there. */
  readonly beyond?: "refuse" | "extend";
}

/**
 * Seconds to the first token of a prompt of `promptTokens` tokens. Below the shortest prompt measured the quadratic goes
 * on: it stays between its constant and the first point there. Throws MillraceError CONFIG_INVALID beyond 1.25 times
 * the longest, unless told to extend.
 */
export function prefillSeconds(
  curve: PrefillCurve,
  promptTokens: number,
  { beyond = "refuse" }: CurveReach = {},
): number {
  if (beyond === "refuse" && !withinReach(curve, promptTokens))
    throw new MillraceError(
      "CONFIG_INVALID",
      `the prefill curve was measured up to ${curve.maxTokens} tokens and does not answer for a prompt of ${formatTokens(promptTokens)}`,
      {
        hint: `measure longer prompts with millrace bench prefill --longest N, or give one target for all with --ttft; this curve answers up to ${Math.floor(REACH * curve.maxTokens)} tokens`,
      },
    );
  return curve.constant + promptTokens * (curve.linear + promptTokens * curve.quadratic);
}

/** Whether the curve answers for prompts of that length. */
export function withinReach({ maxTokens }: PrefillCurve, promptTokens: number): boolean {
  return promptTokens >= 0 && promptTokens <= REACH * maxTokens;
}

/**
 * When the first token of a request is due after its arrival, whole µs: a constant, or the curve at its length plus
 * slack. Throws like prefillSeconds.
 */
export function ttftTargetUs(
  target: TtftTarget,
  promptTokens: number,
  reach: CurveReach = {},
): number {
  if (target.type === "constant") return Math.round(target.us);
  return Math.round(prefillSeconds(target.curve, promptTokens, reach) * 1e6 + target.slackUs);
}

function formatTokens(tokens: number): string {
  return Number.isInteger(tokens) ? String(tokens) : formatNumber(tokens);
}
