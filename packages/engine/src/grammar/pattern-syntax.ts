/** Reads the safe subset of ECMAScript regular expressions that `pattern` may use: what a regular grammar can say. */
import {
  type CharSet,
  charsOf,
  complement,
  digits,
  lineEnds,
  spaces,
  union,
  wordChars,
} from "./char-set.ts";

export type PatternNode =
  | { readonly kind: "chars"; readonly set: CharSet }
  | { readonly kind: "sequence"; readonly parts: readonly PatternNode[] }
  | { readonly kind: "choice"; readonly options: readonly PatternNode[] }
  | {
      readonly kind: "repeat";
      readonly part: PatternNode;
      readonly min: number;
      readonly max: number | null;
    }
  | { readonly kind: "start" | "end" };

/** What is wrong with a pattern; the caller adds where it stands. */
export class PatternProblem extends Error {}

const controls: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  f: "\f",
  v: "\v",
  "0": "\0",
};
const classes: Readonly<Record<string, CharSet>> = {
  d: digits,
  D: complement(digits),
  w: wordChars,
  W: complement(wordChars),
  s: spaces,
  S: complement(spaces),
};

/** Parses a pattern. @throws PatternProblem for look-around, back-references, \b, Unicode classes and syntax errors. */
export function parsePattern(source: string): PatternNode {
  const reader = new Reader(Array.from(source));
  const node = reader.choice(0);
  if (!reader.done) throw new PatternProblem(`"${reader.rest}" has no opening bracket`);
  return node;
}

class Reader {
  private at = 0;
  private readonly chars: readonly string[];

  constructor(chars: readonly string[]) {
    this.chars = chars;
  }

  get done(): boolean {
    return this.at >= this.chars.length;
  }

  get rest(): string {
    return this.chars.slice(this.at).join("");
  }

  choice(depth: number): PatternNode {
    if (depth > 50) throw new PatternProblem("groups are nested more than 50 deep");
    const options = [this.sequence(depth)];
    while (this.take("|")) options.push(this.sequence(depth));
    return options.length === 1 ? (options[0] as PatternNode) : { kind: "choice", options };
  }

  private sequence(depth: number): PatternNode {
    const parts: PatternNode[] = [];
    while (!this.done && this.peek() !== "|" && this.peek() !== ")") {
      const part = this.quantified(this.atom(depth));
      parts.push(part);
    }
    return { kind: "sequence", parts };
  }

  private atom(depth: number): PatternNode {
    const c = this.next();
    if (c === "^") return { kind: "start" };
    if (c === "$") return { kind: "end" };
    if (c === ".") return { kind: "chars", set: complement(lineEnds) };
    if (c === "[") return { kind: "chars", set: this.set() };
    if (c === "\\") return { kind: "chars", set: this.escape(false) };
    if (c === "(") {
      if (this.take("?")) {
        if (this.take("<")) {
          if (this.peek() === "=" || this.peek() === "!")
            throw new PatternProblem("look-behind is not supported");
          while (!this.done && this.peek() !== ">") this.at++;
          this.at++;
        } else if (!this.take(":"))
          throw new PatternProblem("look-ahead and inline flags are not supported");
      }
      const inner = this.choice(depth + 1);
      if (!this.take(")")) throw new PatternProblem("a group is not closed");
      return inner;
    }
    if (c === "*" || c === "+" || c === "?")
      throw new PatternProblem(`"${c}" has nothing to repeat`);
    return { kind: "chars", set: charsOf(c) };
  }

  private quantified(part: PatternNode): PatternNode {
    const c = this.peek();
    let range: readonly [number, number | null] | null = null;
    if (c === "*") range = [0, null];
    else if (c === "+") range = [1, null];
    else if (c === "?") range = [0, 1];
    if (range !== null) this.at++;
    else if (c === "{") range = this.counts();
    if (range === null) return part;
    // Lazy quantifiers match the same texts.
    this.take("?");
    if (part.kind === "start" || part.kind === "end")
      throw new PatternProblem("an anchor cannot be repeated");
    return { kind: "repeat", part, min: range[0], max: range[1] };
  }

  private counts(): readonly [number, number | null] | null {
    const found = /^\{(\d{1,9})(,(\d{1,9})?)?\}/.exec(
      this.chars.slice(this.at, this.at + 24).join(""),
    );
    if (found === null)
      throw new PatternProblem(`"{" does not begin a repetition; write \\{ for the character`);
    this.at += found[0].length;
    const min = Number(found[1]);
    const max = found[2] === undefined ? min : found[3] === undefined ? null : Number(found[3]);
    if (max !== null && max < min) throw new PatternProblem(`{${min},${max}} is empty`);
    return [min, max];
  }

  private set(): CharSet {
    const not = this.take("^");
    const parts: CharSet[] = [];
    while (!this.done && this.peek() !== "]") {
      const from = this.member();
      const low = single(from);
      if (this.peek() === "-" && this.chars[this.at + 1] !== "]" && low !== null) {
        this.at++;
        const high = single(this.member());
        if (high === null || high < low) throw new PatternProblem("a range of characters is empty");
        parts.push([[low, high]]);
      } else parts.push(from);
    }
    if (!this.take("]")) throw new PatternProblem("a character class is not closed");
    const all = union(...parts);
    return not ? complement(all) : all;
  }

  private member(): CharSet {
    const c = this.next();
    return c === "\\" ? this.escape(true) : charsOf(c);
  }

  private escape(inClass: boolean): CharSet {
    const c = this.next();
    const known = classes[c];
    if (known !== undefined) return known;
    if (c === "b" && inClass) return charsOf("\b");
    const control = controls[c];
    if (control !== undefined && !(c === "0" && /[0-9]/.test(this.peek()))) return charsOf(control);
    if (c === "x" || c === "u") return this.code(c);
    if (/[a-zA-Z0-9]/.test(c)) throw new PatternProblem(`\\${c} is not supported`);
    return charsOf(c);
  }

  private code(kind: string): CharSet {
    const text = this.rest;
    const found =
      kind === "x"
        ? /^[0-9a-fA-F]{2}/.exec(text)
        : /^(?:[0-9a-fA-F]{4}|\{[0-9a-fA-F]{1,6}\})/.exec(text);
    if (found === null) throw new PatternProblem(`\\${kind} needs hexadecimal digits`);
    this.at += found[0].length;
    const code = Number.parseInt(found[0].replace(/[{}]/g, ""), 16);
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
      throw new PatternProblem(`\\${kind}${found[0]} is not a character`);
    return [[code, code]];
  }

  private peek(): string {
    return this.chars[this.at] ?? "";
  }

  private next(): string {
    if (this.done) throw new PatternProblem("the pattern ends too early");
    return this.chars[this.at++] as string;
  }

  private take(c: string): boolean {
    if (this.peek() !== c) return false;
    this.at++;
    return true;
  }
}

function single(set: CharSet): number | null {
  const first = set[0];
  return set.length === 1 && first !== undefined && first[0] === first[1] ? first[0] : null;
}
