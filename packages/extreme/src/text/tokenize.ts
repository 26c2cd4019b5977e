/** Words of a text, for the vectoriser: lower case, Unicode letters and digits; apostrophes inside words stay. */
const word = /[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*/gu;

/** The words of `text` in order; none for a text without letters and digits. */
export function words(text: string): string[] {
  return text.toLowerCase().match(word) ?? [];
}
