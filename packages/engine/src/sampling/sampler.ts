/**
 * Draws tokens. Order: penalties, logit bias, bans, temperature, min-p, top-k, top-p, draw. One sampler serves all
 * requests of an engine; it keeps scratch arrays for one vocabulary and nothing of any request.
 */
import type { SamplingParams } from "../contracts.ts";
import { uniformAt } from "./counter-random.ts";
import type { TokenHistory } from "./history.ts";

/** Narrows what may come next, as a grammar does. Called at most once per token. */
export interface TokenFilter {
  /** Whether the token may come next. */
  allows(token: number): boolean;
  /** Sets the logits of all tokens that may not come next to -Infinity. */
  mask(logits: Float32Array): void;
}

/** Result of Sampler.sample when no token is possible: every logit is -Infinity or not a number. */
export const NO_TOKEN = -1;

/** Buckets of the partial selection and the range of scaled logits below the largest that they cover. */
const buckets = 2048;
/** exp(-46) is 1e-20: a vocabulary of such tokens together is less likely than one part in 10^14. */
const reach = 46;
const perUnit = (buckets - 1) / reach;

export class Sampler {
  private readonly changed: Float32Array;
  /** Candidates: token ids, ascending, their scaled logits (0 = the largest) and weights. */
  private readonly id: Int32Array;
  private readonly x: Float64Array;
  private readonly weight: Float64Array;
  private readonly tally = new Float64Array(buckets);
  private n = 0;

  constructor(vocabularySize: number) {
    this.changed = new Float32Array(vocabularySize);
    this.id = new Int32Array(vocabularySize);
    this.x = new Float64Array(vocabularySize);
    this.weight = new Float64Array(vocabularySize);
  }

  /**
   * The next token of a request, NO_TOKEN when none is possible. `position` is the token's index in the sequence
   * (prompt and output); `banned` tokens never come. `logits` are not changed.
   *
   * With a filter a token is drawn first and the whole vocabulary is masked only when the filter refuses it; the second
   * draw is independent, so without truncation the result has the masked distribution exactly.
   */
  sample(
    logits: Float32Array,
    params: SamplingParams,
    history: TokenHistory | null,
    position: number,
    banned: Int32Array | null,
    filter: TokenFilter | null,
  ): number {
    const shaped = this.shape(logits, params, history, banned);
    const token = this.draw(shaped, params, position, 0);
    if (filter === null || token === NO_TOKEN || filter.allows(token)) return token;
    const masked = this.changed;
    if (shaped !== masked) masked.set(shaped);
    filter.mask(masked);
    return this.draw(masked, params, position, 1);
  }

  /** Applies everything that changes single logits; returns `logits` itself when there is nothing to change. */
  private shape(
    logits: Float32Array,
    params: SamplingParams,
    history: TokenHistory | null,
    banned: Int32Array | null,
  ): Float32Array {
    const { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias } = params;
    const penalised =
      history !== null &&
      (repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0);
    if (!penalised && logitBias.size === 0 && (banned === null || banned.length === 0))
      return logits;
    const out = this.changed;
    out.set(logits);
    if (penalised) history.penalise(out, repetitionPenalty, presencePenalty, frequencyPenalty);
    for (const [token, bias] of logitBias) if (token < out.length) out[token] = out[token]! + bias;
    if (banned !== null)
      for (let i = 0; i < banned.length; i++) out[banned[i]!] = Number.NEGATIVE_INFINITY;
    return out;
  }

  private draw(
    logits: Float32Array,
    params: SamplingParams,
    position: number,
    draw: number,
  ): number {
    const best = argmax(logits);
    if (best === NO_TOKEN || params.temperature === 0 || params.topK === 1) return best;
    const max = logits[best]!;
    if (max === Number.POSITIVE_INFINITY) return best;
    this.gather(logits, max, 1 / params.temperature, params.minP);
    if (params.topK > 0 && params.topK < this.n) this.keep(params.topK, null);
    const { x, weight } = this;
    let sum = 0;
    for (let i = 0; i < this.n; i++) {
      const w = Math.exp(x[i]!);
      weight[i] = w;
      sum += w;
    }
    if (params.topP < 1) sum = this.keep(params.topP * sum, weight);
    let left = uniformAt(params.seed, position, draw) * sum;
    for (let i = 0; i < this.n; i++) {
      left -= weight[i]!;
      if (left < 0) return this.id[i]!;
    }
    // Rounding: the draw fell behind the last weight.
    return this.id[this.n - 1]!;
  }

  /** Collects the tokens that min-p and the reach of exp leave, with scaled logits. */
  private gather(logits: Float32Array, max: number, scale: number, minP: number): void {
    const { id, x } = this;
    const floor = minP > 0 ? Math.max(-reach, Math.log(minP)) : -reach;
    let n = 0;
    for (let i = 0; i < logits.length; i++) {
      const scaled = (logits[i]! - max) * scale;
      if (scaled >= floor) {
        id[n] = i;
        x[n] = scaled;
        n++;
      }
    }
    this.n = n;
  }

  /**
   * Keeps the most likely candidates until their weights (or their number, when `weight` is null) reach `mass`; returns
   * what was kept. Only the bucket in which that happens is sorted, ties by token id: O(n), never a sort of the whole.
   */
  private keep(mass: number, weight: Float64Array | null): number {
    const { x, id, n, tally } = this;
    tally.fill(0);
    for (let i = 0; i < n; i++) {
      const b = (-x[i]! * perUnit) | 0;
      tally[b] = tally[b]! + (weight === null ? 1 : weight[i]!);
    }
    let border = 0;
    let kept = 0;
    while (border < buckets - 1 && kept + tally[border]! < mass) kept += tally[border++]!;
    const inBorder: number[] = [];
    for (let i = 0; i < n; i++) if (((-x[i]! * perUnit) | 0) === border) inBorder.push(i);
    inBorder.sort((a, b) => x[b]! - x[a]! || a - b);
    let last = -1;
    for (const i of inBorder) {
      if (last >= 0 && kept >= mass) break;
      kept += weight === null ? 1 : weight[i]!;
      last = i;
    }
    let to = 0;
    const least = last < 0 ? Number.POSITIVE_INFINITY : x[last]!;
    for (let i = 0; i < n; i++) {
      const b = (-x[i]! * perUnit) | 0;
      const goes = b > border || (b === border && (x[i]! < least || (x[i] === least && i > last)));
      if (goes) continue;
      id[to] = id[i]!;
      x[to] = x[i]!;
      if (weight !== null) weight[to] = weight[i]!;
      to++;
    }
    this.n = to;
    return kept;
  }
}

/** Token with the largest logit, the lowest id among equals; NO_TOKEN when every logit is -Infinity or not a number. */
export function argmax(logits: Float32Array): number {
  let best = NO_TOKEN;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i]!;
    if (x > max) {
      max = x;
      best = i;
    }
  }
  return best;
}
