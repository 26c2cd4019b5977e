/** Peak KV need of a set of sequences when each ends after its expected remaining tokens. */

/**
 * Sequences are kept by remaining tokens, descending. When the i-th of them (from 0) ends, it and the i before it still
 * hold their tokens and have each produced its remaining ones, so the need then is remaining_i x (i + 1) + held_0 + … + held_i.
 */
export class PeakForecast {
  private held = new Float64Array(64);
  private remaining = new Float64Array(64);
  private n = 0;

  clear(): void {
    this.n = 0;
  }

  /** Adds a sequence that holds `held` tokens and expects `remaining` more; returns the peak of the set, tokens. */
  add(held: number, remaining: number): number {
    if (this.n === this.held.length) this.grow();
    let at = this.n++;
    while (at > 0 && this.remaining[at - 1]! < remaining) {
      this.remaining[at] = this.remaining[at - 1]!;
      this.held[at] = this.held[at - 1]!;
      at--;
    }
    this.remaining[at] = remaining;
    this.held[at] = held;
    let peak = 0;
    let sum = 0;
    for (let i = 0; i < this.n; i++) {
      sum += this.held[i]!;
      const need = this.remaining[i]! * (i + 1) + sum;
      if (need > peak) peak = need;
    }
    return peak;
  }

  private grow(): void {
    const held = new Float64Array(this.n * 2);
    held.set(this.held);
    this.held = held;
    const remaining = new Float64Array(this.n * 2);
    remaining.set(this.remaining);
    this.remaining = remaining;
  }
}
