/** Markers that may be split between two pieces of text. */

/** Characters at the end of `text` that could be the beginning of one of `words`. */
export function heldBack(text: string, words: readonly string[]): number {
  const longest = Math.max(...words.map((word) => word.length)) - 1;
  for (let length = Math.min(longest, text.length); length > 0; length--) {
    const tail = text.slice(text.length - length);
    if (words.some((word) => word.startsWith(tail))) return length;
  }
  return 0;
}
