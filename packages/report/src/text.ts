/** Text that came from outside: cleaned once, then escaped for the place it is written to. */

// Control characters, bidirectional overrides (they can make text read as something else) and half surrogate pairs.
const unprintable =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to remove
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]|\p{Surrogate}/gu;

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Replaces what cannot be printed (or hides what is printed) by U+FFFD. */
export function clean(text: string): string {
  return text.replace(unprintable, "\ufffd");
}

/** Text for HTML content and for quoted attributes. */
export function escapeHtml(text: string): string {
  return clean(text).replace(/[&<>"']/g, (c) => entities[c] ?? c);
}

/** At most `length` characters; an ellipsis takes the place of the last one. */
export function shorten(text: string, length: number): string {
  const characters = Array.from(clean(text));
  return characters.length <= length
    ? characters.join("")
    : `${characters.slice(0, length - 1).join("")}…`;
}

/** A piece of running text: plain words, or a name set as code. */
export interface InlinePiece {
  readonly code: boolean;
  readonly text: string;
}

/** Splits running text at pairs of backticks, the one piece of markup that prose may carry. */
export function inlinePieces(text: string): InlinePiece[] {
  return text
    .split(/`([^`\n]+)`/)
    .map((piece, i) => ({ code: i % 2 === 1, text: piece }))
    .filter((piece) => piece.text !== "");
}

/**
 * JSON for a `<script type="application/json">` element: nothing in it can end the element, typed arrays are arrays,
 * and numbers that JSON lacks are null.
 */
export function embedJson(value: unknown): string {
  const json = JSON.stringify(value, (_key, item: unknown) =>
    ArrayBuffer.isView(item) && !(item instanceof DataView)
      ? Array.from(item as Float64Array)
      : item,
  );
  return (json ?? "null").replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
