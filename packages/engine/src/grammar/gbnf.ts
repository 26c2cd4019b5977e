/**
 * Grammars that narrow what a model may say. GBNF is the notation of llama.cpp; everything here writes it, nothing here
 * samples with it. Repetition always stands behind the name of a rule or one character class, because llama.cpp copies
 * what is repeated and refuses large copies.
 */

/** Most repetitions that llama.cpp's parser takes; a larger upper bound would silently mean "any number". */
export const maxRepetition = 2000;

/** Text as a GBNF literal, quotes included. */
export function literal(text: string): string {
  let out = '"';
  for (const char of text) {
    const code = char.codePointAt(0) as number;
    if (char === '"' || char === "\\") out += `\\${char}`;
    else if (code < 0x20 || code === 0x7f) out += `\\x${code.toString(16).padStart(2, "0")}`;
    else out += char;
  }
  return `${out}"`;
}

/** One of several expressions; the whole can be followed by others. */
export function oneOf(parts: readonly string[]): string {
  return parts.length === 1 ? (parts[0] as string) : `(${parts.join(" | ")})`;
}

/** `name` (a rule or one character class) repeated min … max times; max null = without bound. */
export function repeat(name: string, min: number, max: number | null): string {
  if (max === 0) return "";
  if (min === 1 && max === 1) return name;
  if (max === null) return min === 0 ? `${name}*` : min === 1 ? `${name}+` : `${name}{${min},}`;
  if (min === 0 && max === 1) return `${name}?`;
  return min === max ? `${name}{${min}}` : `${name}{${min},${max}}`;
}

/** Parts one after the other; empty ones vanish. */
export function sequence(...parts: readonly string[]): string {
  return parts.filter((part) => part !== "").join(" ");
}

/** Collects the rules of one grammar. Rules with equal bodies are written once. */
export class GrammarBuilder {
  private readonly bodies = new Map<string, string>();
  private readonly byBody = new Map<string, string>();

  /** Adds a rule and returns its name, made from `hint`. */
  add(hint: string, body: string): string {
    const known = this.byBody.get(body);
    if (known !== undefined) return known;
    const name = this.reserve(hint);
    this.define(name, body);
    this.byBody.set(body, name);
    return name;
  }

  /** A fresh name for a rule that is defined later; for rules that name themselves. */
  reserve(hint: string): string {
    const clean = hint.replace(/[^a-zA-Z0-9]+/g, "-").replace(/^-+|-+$/g, "");
    const stem = clean.slice(0, 40) || "rule";
    let name = stem;
    for (let i = 2; this.bodies.has(name); i++) name = `${stem}-${i}`;
    this.bodies.set(name, "");
    return name;
  }

  define(name: string, body: string): void {
    this.bodies.set(name, body);
  }

  get size(): number {
    return this.bodies.size;
  }

  /** The grammar with `root` as its start. */
  text(root: string): string {
    const lines = [`root ::= ${root}`];
    for (const [name, body] of this.bodies) lines.push(`${name} ::= ${body}`);
    return `${lines.join("\n")}\n`;
  }
}
