/** Log probabilities of the model's own distribution: the raw logits, before penalties, bias and temperature. */
import type { TokenLogprob } from "../contracts.ts";

/** Largest number of alternatives that can be asked for. */
export const maxTopLogprobs = 20;

/** log(sum(exp(logits))); -Infinity when every logit is. O(n). */
export function logSumExp(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!;
  if (max === Number.NEGATIVE_INFINITY) return max;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i]! - max;
    // Smaller terms do not reach the last bit of the sum, whatever their number.
    if (x > -80) sum += Math.exp(x);
  }
  return max + Math.log(sum);
}

/**
 * The chosen token's log probability and the `top` most likely tokens, most likely first, ties by token id. O(n) for
 * small `top` (0 … 20). Impossible tokens are reported as -9999, which JSON can carry.
 */
export function tokenLogprobs(
  logits: Float32Array,
  token: number,
  top: number,
): { readonly token: number; readonly logprob: number; readonly top: readonly TokenLogprob[] } {
  const norm = logSumExp(logits);
  const value = (id: number): number => {
    const x = logits[id]! - norm;
    return x > -9999 ? x : -9999;
  };
  const best: number[] = [];
  for (let i = 0; i < logits.length && top > 0; i++) {
    const x = logits[i]!;
    if (best.length === top && !(x > logits[best[top - 1]!]!)) continue;
    let at = best.length;
    while (at > 0 && x > logits[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > top) best.pop();
  }
  return {
    token,
    logprob: value(token),
    top: best.map((id) => ({ token: id, logprob: value(id) })),
  };
}
