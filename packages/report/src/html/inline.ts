/** Running text as HTML: escaped, with names between backticks set as code. */
import { escapeHtml, inlinePieces } from "../text.ts";

/** One line of prose. */
export function inlineHtml(text: string): string {
  return inlinePieces(text)
    .map((p) => (p.code ? `<code>${escapeHtml(p.text)}</code>` : escapeHtml(p.text)))
    .join("");
}

/** Paragraphs, split at empty lines. */
export function paragraphsHtml(text: string, className?: string): string {
  const open = className === undefined ? "<p>" : `<p class="${className}">`;
  return text
    .split(/\n\s*\n/)
    .filter((p) => p.trim() !== "")
    .map((p) => `${open}${inlineHtml(p.trim())}</p>`)
    .join("\n");
}

/** Tick or cross that is also read out. */
export function markHtml(met: boolean): string {
  return met
    ? '<span class="mark good" role="img" aria-label="met">✓</span>'
    : '<span class="mark bad" role="img" aria-label="not met">✗</span>';
}
