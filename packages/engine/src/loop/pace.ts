/** How fast requests end, for telling a refused client when to come again. */

const window = 32;
const longestSeconds = 120;

export class Pace {
  private readonly ends: number[] = [];

  /** A request ended at `now`. */
  ended(now: number): void {
    this.ends.push(now);
    if (this.ends.length > window) this.ends.shift();
  }

  /** Whole seconds until about `places` requests have ended, 1 … 120; 1 while nothing is known. */
  secondsFor(places: number, now: number): number {
    const first = this.ends[0];
    if (first === undefined) return 1;
    const perEnd = (now - first) / this.ends.length;
    return Math.min(longestSeconds, Math.max(1, Math.ceil(perEnd * places)));
  }
}
