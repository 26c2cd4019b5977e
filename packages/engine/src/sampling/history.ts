/** What a request said so far, as far as penalties need it. */

/** Token counts of one request: the prompt counts for the repetition penalty alone, new tokens for all three. */
export class TokenHistory {
  /** Times each token was generated; 0 for tokens that stand in the prompt alone. */
  private readonly counts = new Map<number, number>();

  /** Adds the prompt. O(tokens). */
  addPrompt(prompt: Int32Array): void {
    for (const token of prompt) if (!this.counts.has(token)) this.counts.set(token, 0);
  }

  /** Adds a generated token. */
  add(token: number): void {
    this.counts.set(token, (this.counts.get(token) ?? 0) + 1);
  }

  /**
   * Penalises logits in place. Repetition: positive logits are divided by it, negative ones multiplied (CTRL, Keskar et
   * al. 2019). Presence and frequency: taken off once, and once per occurrence, for generated tokens (OpenAI).
   */
  penalise(logits: Float32Array, repetition: number, presence: number, frequency: number): void {
    for (const [token, count] of this.counts) {
      if (token >= logits.length || token < 0) continue;
      let x = logits[token]!;
      x = x > 0 ? x / repetition : x * repetition;
      if (count > 0) x -= presence + frequency * count;
      logits[token] = x;
    }
  }
}
