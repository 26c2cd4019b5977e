/** Finds stop texts in text that comes in pieces, and holds back what may become one. */
import { MillraceError } from "@millrace/core";

/** Knuth–Morris–Pratt: the longest proper border of each prefix. */
function borders(pattern: string): Int32Array {
  const out = new Int32Array(pattern.length + 1);
  let k = 0;
  for (let i = 1; i < pattern.length; i++) {
    while (k > 0 && pattern.charCodeAt(i) !== pattern.charCodeAt(k)) k = out[k]!;
    if (pattern.charCodeAt(i) === pattern.charCodeAt(k)) k++;
    out[i + 1] = k;
  }
  return out;
}

/**
 * Feeds on text; gives back what cannot be part of a stop text any more. The first stop text to be complete ends it;
 * of several that end at the same character the longest. O(characters x stop texts), whatever the text.
 */
export class StopMatcher {
  /** The stop text that was found, null while none was. */
  matched: string | null = null;
  private readonly stops: readonly string[];
  private readonly borders: readonly Int32Array[];
  /** Characters of each stop text that the end of the text matches. */
  private readonly state: Int32Array;
  private held = "";

  /** @throws MillraceError CONFIG_INVALID for a stop text that is empty or holds half a surrogate pair. */
  constructor(stops: readonly string[]) {
    for (const stop of stops) {
      if (stop.length === 0 || /\p{Surrogate}/u.test(stop))
        throw new MillraceError(
          "CONFIG_INVALID",
          `stop text ${JSON.stringify(stop)} is ${stop.length === 0 ? "empty" : "not valid Unicode"}`,
          { hint: "give at least one whole character, or leave `stop` out" },
        );
    }
    this.stops = stops;
    this.borders = stops.map(borders);
    this.state = new Int32Array(stops.length);
  }

  /** Takes more text and returns what may be shown now. After a match nothing more comes. */
  push(text: string): string {
    if (this.matched !== null) return "";
    if (this.stops.length === 0) return text;
    const all = this.held + text;
    for (let i = this.held.length; i < all.length; i++) {
      if (!this.advance(all.charCodeAt(i))) continue;
      this.held = "";
      return all.slice(0, i + 1 - (this.matched as unknown as string).length);
    }
    let hold = 0;
    for (let s = 0; s < this.state.length; s++) hold = Math.max(hold, this.state[s]!);
    this.held = all.slice(all.length - hold);
    return all.slice(0, all.length - hold);
  }

  /** The text ended: what was held back is shown after all. */
  end(): string {
    const rest = this.held;
    this.held = "";
    return rest;
  }

  /** Moves all matches by one character; true when one is complete. */
  private advance(code: number): boolean {
    let found: string | null = null;
    for (let s = 0; s < this.stops.length; s++) {
      const stop = this.stops[s]!;
      const border = this.borders[s]!;
      let k = this.state[s]!;
      while (k > 0 && stop.charCodeAt(k) !== code) k = border[k]!;
      if (stop.charCodeAt(k) === code) k++;
      this.state[s] = k;
      if (k === stop.length && (found === null || stop.length > found.length)) found = stop;
    }
    this.matched = found;
    return found !== null;
  }
}
