/** Puts whole grammars together: rules of each get a prefix, so that names cannot meet. */

/** A literal, a character class, a repetition, a comment, or a name; everything else stands alone. */
const part = /"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|\{[^}]*\}|#[^\n]*|[a-zA-Z0-9-]+/g;

function prefixed(grammar: string, prefix: string): string {
  return grammar.replace(part, (found) =>
    /^[a-zA-Z0-9-]/.test(found) ? `${prefix}${found}` : found,
  );
}

/**
 * One grammar out of several, each starting at its own `root`. `root` gets the names of their starts and writes the
 * start of the whole; `rules` are further rules that it may name.
 */
export function combineGrammars(
  grammars: readonly string[],
  root: (starts: readonly string[]) => string,
  rules: readonly string[] = [],
): string {
  const starts = grammars.map((_, i) => `g${i}-root`);
  const lines = [`root ::= ${root(starts)}`, ...rules];
  return `${lines.join("\n")}\n${grammars.map((one, i) => prefixed(one, `g${i}-`)).join("")}`;
}

/**
 * Rules of any text up to and with `close`, whose first character must not come in it again; `name` is their start.
 * One state per character of `close` that has been seen.
 */
export function upToRules(name: string, close: string): readonly string[] {
  const chars = Array.from(close);
  const first = chars[0] ?? "";
  if (chars.length < 2 || chars.lastIndexOf(first) > 0)
    throw new RangeError(`${JSON.stringify(close)} cannot be looked for`);
  const state = (seen: number) => (seen === 0 ? name : `${name}-${seen}`);
  const quote = (char: string) => JSON.stringify(char);
  const inClass = (char: string) => (/[\]\\^-]/.test(char) ? `\\${char}` : char);
  return chars.map((char, seen) => {
    const next = seen + 1 === chars.length ? quote(char) : `${quote(char)} ${state(seen + 1)}`;
    const others = `[^${[...new Set([char, first])].map(inClass).join("")}] ${name}`;
    const again = seen === 0 ? [] : [`${quote(first)} ${state(1)}`];
    return `${state(seen)} ::= ${[next, ...again, others].join(" | ")}`;
  });
}
