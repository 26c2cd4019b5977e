/**
 * Where a GBNF grammar is wrong. libllama parses grammars for the engine and says only that one cannot be parsed; this
 * reads the same language beforehand, to name line and column. It refuses nothing that libllama takes.
 */
import { MillraceError } from "@millrace/core";

/** Throws GRAMMAR_INVALID `place:line:column: what` for the first mistake. */
export function checkGrammarSyntax(grammar: string, place = "grammar"): void {
  new Reader(grammar, place).read();
}

const name = /[a-zA-Z0-9-]+/y;
const spaces = /(?:[ \t]|#[^\r\n]*)*/y;
const spacesAndLines = /(?:[ \t\r\n]|#[^\r\n]*)*/y;
const character = /\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\"[\]-])|[^\\]/suy;
const token = /!?<[^>]*>/y;
const repetition = /\{\s*[0-9]+\s*(?:,\s*(?:[0-9]+\s*)?)?\}/y;
const endOfLine = /\r?\n|\r/y;

class Reader {
  readonly #text: string;
  readonly #place: string;
  readonly #defined = new Set<string>();
  /** Places at which a rule is named first. */
  readonly #named = new Map<string, number>();
  #at = 0;

  constructor(text: string, place: string) {
    this.#text = text;
    this.#place = place;
  }

  read(): void {
    this.#take(spacesAndLines);
    while (this.#at < this.#text.length) this.#rule();
    for (const [rule, at] of this.#named)
      if (!this.#defined.has(rule)) this.#fail(`there is no rule ${rule}`, at);
    if (!this.#defined.has("root")) this.#fail("there is no rule root, where the text begins", 0);
  }

  #rule(): void {
    const rule = this.#take(name);
    if (rule === "") this.#fail("a rule begins with its name: letters, digits and -");
    this.#take(spaces);
    if (!this.#text.startsWith("::=", this.#at)) this.#fail(`after the name ${rule} comes ::=`);
    this.#at += 3;
    this.#take(spacesAndLines);
    this.#defined.add(rule);
    this.#alternatives(spaces);
    if (this.#at === this.#text.length) return;
    if (this.#take(endOfLine) === "") this.#fail(this.#unexpected());
    this.#take(spacesAndLines);
  }

  /** `gap`: what may stand between two parts; lines only within brackets. */
  #alternatives(gap: RegExp): void {
    this.#sequence(gap);
    while (this.#text[this.#at] === "|") {
      this.#at += 1;
      this.#take(spacesAndLines);
      this.#sequence(gap);
    }
  }

  #sequence(gap: RegExp): void {
    for (let parts = 0; ; parts++) {
      const from = this.#at;
      const sign = this.#text[from] ?? "";
      if ("*+?{".includes(sign) && sign !== "") {
        if (parts === 0) this.#fail(`nothing stands before ${sign}`);
        if (sign !== "{") this.#at += 1;
        else if (this.#take(repetition) === "") this.#fail("a repetition is {m}, {m,} or {m,n}");
      } else if (sign === '"') this.#quoted('"', "a literal");
      else if (sign === "[") this.#quoted("]", "a character class");
      else if (sign === "(") this.#group();
      else if (sign === ".") this.#at += 1;
      else if (sign === "<" || sign === "!") {
        if (this.#take(token) === "") this.#fail("a token is <[number]> or <text>");
      } else {
        const rule = this.#take(name);
        if (rule === "") return;
        if (!this.#named.has(rule)) this.#named.set(rule, from);
      }
      this.#take(gap);
    }
  }

  #group(): void {
    const from = this.#at;
    this.#at += 1;
    this.#take(spacesAndLines);
    this.#alternatives(spacesAndLines);
    if (this.#at === this.#text.length) this.#fail("this bracket is not closed", from);
    if (this.#text[this.#at] !== ")") this.#fail(this.#unexpected());
    this.#at += 1;
  }

  #quoted(end: string, what: string): void {
    const from = this.#at;
    this.#at += 1;
    while (this.#text[this.#at] !== end) {
      if (this.#at >= this.#text.length) this.#fail(`${what} is not closed`, from);
      if (this.#take(character) === "")
        this.#fail(`there is no escape \\${this.#text[this.#at + 1] ?? ""}`);
    }
    this.#at += 1;
  }

  #unexpected(): string {
    const sign = String.fromCodePoint(this.#text.codePointAt(this.#at) as number);
    return sign === "\n" ? "a rule ends too early" : `${JSON.stringify(sign)} is not expected here`;
  }

  /** The longest match here, and steps behind it; "" when there is none. */
  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  #fail(what: string, at = this.#at): never {
    const before = this.#text.slice(0, at).split(/\r?\n/);
    const column = (before.at(-1) as string).length + 1;
    throw new MillraceError(
      "GRAMMAR_INVALID",
      `${this.#place}:${before.length}:${column}: ${what}`,
      {
        hint: "GBNF: one `name ::= …` per rule, starting at `root`",
      },
    );
  }
}
