/** Rules of JSON itself that schemas build on. */
import { type GrammarBuilder, literal, sequence } from "./gbnf.ts";

/** White space between tokens: none, one space, or a line end with indentation; bounded, or small models get lost in it. */
const wsBody = '| " " | "\\n" [ \\t]{0,20}';

/** Rules of JSON, added to a grammar when they are first asked for. */
export class JsonRules {
  readonly grammar: GrammarBuilder;
  private readonly names = new Map<string, string>();

  constructor(grammar: GrammarBuilder) {
    this.grammar = grammar;
  }

  get ws(): string {
    return this.once("ws", () => wsBody);
  }

  /** One character of a string, escaped or not; half of a surrogate pair never. */
  get char(): string {
    return this.once(
      "char",
      () => `[^"\\\\\\x00-\\x1f] | "\\\\" (["\\\\bfnrt/] | "u" ${this.hex})`,
    );
  }

  /** Four hexadecimal digits that are no surrogate. */
  get hex(): string {
    return this.once("hex", () => "[0-9a-cefA-CEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}");
  }

  get string(): string {
    return this.once("string", () => `"\\"" ${this.char}* "\\""`);
  }

  get integer(): string {
    return this.once("integer", () => '"0" | "-"? [1-9] [0-9]{0,15}');
  }

  get number(): string {
    return this.once(
      "number",
      () => '"-"? ("0" | [1-9] [0-9]{0,20}) ("." [0-9]{1,24})? ([eE] [-+]? [0-9]{1,3})?',
    );
  }

  get boolean(): string {
    return this.once("boolean", () => '"true" | "false"');
  }

  /** Any JSON value. */
  get value(): string {
    const known = this.names.get("value");
    if (known !== undefined) return known;
    const name = this.grammar.reserve("value");
    this.names.set("value", name);
    this.grammar.define(
      name,
      `${this.object} | ${this.array} | ${this.string} | ${this.number} | ${this.boolean} | "null"`,
    );
    return name;
  }

  /** Any JSON object. */
  get object(): string {
    return this.once("object", () => this.members(this.grammar.add("member", this.anyMember())));
  }

  /** Any JSON array. */
  get array(): string {
    return this.once("array", () => {
      const item = this.value;
      const more = this.grammar.add("more-items", `"," ${this.ws} ${item}`);
      return `"[" ${this.ws} (${item} ${more}*)? ${this.ws} "]"`;
    });
  }

  /** An object of any number of members of one rule. */
  members(member: string): string {
    const more = this.grammar.add("more-members", `"," ${this.ws} ${member}`);
    return `"{" ${this.ws} (${member} ${more}*)? ${this.ws} "}"`;
  }

  /** A member with a fixed key; `key` is not escaped yet. */
  member(key: string, value: string): string {
    return sequence(literal(`${JSON.stringify(key)}:`), this.ws, value);
  }

  private anyMember(): string {
    return `${this.string} ":" ${this.ws} ${this.value}`;
  }

  private once(name: string, body: () => string): string {
    const known = this.names.get(name);
    if (known !== undefined) return known;
    const reserved = this.grammar.reserve(name);
    this.names.set(name, reserved);
    this.grammar.define(reserved, body());
    return reserved;
  }
}
