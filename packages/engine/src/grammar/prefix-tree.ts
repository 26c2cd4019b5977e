/** Many texts as one expression. */
import { literal, oneOf, sequence } from "./gbnf.ts";

/** Deeper brackets than that would cost a parser more than alternatives that begin alike. */
const deepest = 64;

/**
 * One of these texts (at least one), common beginnings written once: libllama follows every alternative that is still
 * possible with each candidate token, so thousands of them side by side would slow every step down.
 */
export function oneOfTexts(texts: readonly string[]): string {
  return node(
    [...new Set(texts)].map((text) => Array.from(text)),
    0,
  );
}

function node(texts: readonly (readonly string[])[], depth: number): string {
  const first = texts[0] ?? [];
  const shared = texts.reduce((length, text) => {
    let same = 0;
    while (same < length && text[same] === first[same]) same++;
    return same;
  }, first.length);
  const head = shared === 0 ? "" : literal(first.slice(0, shared).join(""));
  if (texts.length === 1) return head === "" ? '""' : head;
  const rests = texts.map((text) => text.slice(shared));
  if (depth === deepest) return sequence(head, oneOf(rests.map((rest) => literal(rest.join("")))));
  const byFirst = new Map<string, (readonly string[])[]>();
  for (const rest of rests) {
    const key = rest[0] ?? "";
    const same = byFirst.get(key);
    if (same === undefined) byFirst.set(key, [rest]);
    else same.push(rest);
  }
  return sequence(head, oneOf([...byFirst.values()].map((same) => node(same, depth + 1))));
}
