/** Sets of Unicode characters, and how they are written in a JSON string inside a grammar. */
import { literal, oneOf } from "./gbnf.ts";

/** Sorted, disjoint, inclusive ranges of code points. */
export type CharSet = readonly (readonly [number, number])[];

const last = 0x10ffff;
const surrogates: CharSet = [[0xd800, 0xdfff]];

/** The union of any ranges. */
export function union(...sets: readonly CharSet[]): CharSet {
  const all = sets.flat().sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const [from, to] of all) {
    const top = out.at(-1);
    if (top !== undefined && from <= top[1] + 1) top[1] = Math.max(top[1], to);
    else out.push([from, to]);
  }
  return out;
}

/** All characters that are not in the set. */
export function complement(set: CharSet): CharSet {
  const out: [number, number][] = [];
  let next = 0;
  for (const [from, to] of union(set, surrogates)) {
    if (from > next) out.push([next, from - 1]);
    next = to + 1;
  }
  if (next <= last) out.push([next, last]);
  return out;
}

export function minus(set: CharSet, other: CharSet): CharSet {
  return complement(union(complement(set), other));
}

export function has(set: CharSet, code: number): boolean {
  return set.some(([from, to]) => code >= from && code <= to);
}

/** The set of the characters of a text. */
export function charsOf(text: string): CharSet {
  return union(
    ...Array.from(text, (c): CharSet => {
      const code = c.codePointAt(0) as number;
      return [[code, code]];
    }),
  );
}

export const digits: CharSet = [[0x30, 0x39]];
export const wordChars: CharSet = union(digits, [[0x41, 0x5a]], [[0x5f, 0x5f]], [[0x61, 0x7a]]);
/** White space of ECMAScript's \s. */
export const spaces: CharSet = union(
  [[9, 13]],
  charsOf(" \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff"),
  [[0x2000, 0x200a]],
);
export const lineEnds: CharSet = charsOf("\n\r\u2028\u2029");

/** Characters that a JSON string writes with a short escape. */
export const shortEscapes: ReadonlyMap<number, string> = new Map([
  [0x22, '\\"'],
  [0x5c, "\\\\"],
  [0x08, "\\b"],
  [0x0c, "\\f"],
  [0x0a, "\\n"],
  [0x0d, "\\r"],
  [0x09, "\\t"],
]);

const mustEscape: CharSet = union([[0, 0x1f]], charsOf('"\\'));

function classChar(code: number): string {
  if (code > 0xffff) return `\\U${code.toString(16).padStart(8, "0")}`;
  if (code > 0x7e) return `\\u${code.toString(16).padStart(4, "0")}`;
  const char = String.fromCharCode(code);
  return /[a-zA-Z0-9 _.,:;@/!?+=]/.test(char) ? char : `\\x${code.toString(16).padStart(2, "0")}`;
}

/** A GBNF character class. */
export function classOf(set: CharSet): string {
  const parts = set.map(([from, to]) =>
    from === to ? classChar(from) : `${classChar(from)}-${classChar(to)}`,
  );
  return `[${parts.join("")}]`;
}

/** One character of the set as it stands in a JSON string; null when the set is empty. */
export function jsonChar(set: CharSet): string | null {
  const parts: string[] = [];
  const raw = minus(set, mustEscape);
  if (raw.length > 0) parts.push(classOf(raw));
  for (let code = 0; code < 0x5d; code++) {
    if (!has(mustEscape, code) || !has(set, code)) continue;
    const short = shortEscapes.get(code) ?? `\\u${code.toString(16).padStart(4, "0")}`;
    parts.push(literal(short));
  }
  return parts.length === 0 ? null : oneOf(parts);
}
