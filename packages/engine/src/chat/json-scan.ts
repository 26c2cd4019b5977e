/** Finds where a JSON object or array ends, character by character, over any splits of the text. */

/** Follows brackets and strings of one object or array; the first character fed must be its `{` or `[`. */
export class JsonScanner {
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** Characters of `text` that still belong to the value; less than `text.length` once it has ended. */
  feed(text: string): number {
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (c === "\\") this.#escaped = true;
        else if (c === '"') this.#inString = false;
      } else if (c === '"') this.#inString = true;
      else if (c === "{" || c === "[") this.#depth++;
      else if (c === "}" || c === "]") {
        this.#depth--;
        if (this.#depth === 0) return i + 1;
      }
    }
    return text.length;
  }

  /** True once the value's last bracket has been fed. */
  get ended(): boolean {
    return this.#depth === 0;
  }
}

/** Characters of the object or array at the start of `text`, or -1 while its end is not there yet. */
export function balancedLength(text: string): number {
  const scanner = new JsonScanner();
  const length = scanner.feed(text);
  return scanner.ended ? length : -1;
}
