/** Patterns as rules: for what stands between the quotes of a JSON string, or for a whole text. */
import { MillraceError } from "@millrace/core";
import { type CharSet, classOf, complement, jsonChar } from "./char-set.ts";
import { GrammarBuilder, maxRepetition, oneOf, repeat, sequence } from "./gbnf.ts";
import { type PatternNode, PatternProblem, parsePattern } from "./pattern-syntax.ts";

/**
 * Rules for a string that a pattern matches somewhere, as JSON schema has it: without ^ and $ anything may stand before
 * and behind. Anchors may stand at the ends of the pattern or of its outermost alternatives.
 * @throws PatternProblem for what the subset leaves out.
 */
export function patternRules(source: string, grammar: GrammarBuilder): string {
  const root = parsePattern(source);
  checkOptional(root);
  const options = root.kind === "choice" ? root.options : [root];
  return oneOf(options.map((option) => anchored(option, grammar)));
}

/**
 * The grammar of the texts that a pattern matches from end to end; anchors at its ends change nothing.
 * @throws MillraceError SCHEMA_UNSUPPORTED for what the subset of patterns leaves out.
 */
export function patternGrammar(source: string): string {
  const grammar = new GrammarBuilder();
  try {
    const root = parsePattern(source);
    checkOptional(root);
    const options = root.kind === "choice" ? root.options : [root];
    const bodies = options.map(
      (option) => write(withoutAnchors(option).inner, grammar, plainChar) || '""',
    );
    return grammar.text(oneOf(bodies));
  } catch (problem) {
    if (!(problem instanceof PatternProblem)) throw problem;
    throw new MillraceError("SCHEMA_UNSUPPORTED", `the regular expression: ${problem.message}`, {
      hint: "use classes, groups, alternatives and bounded repetitions, or write the grammar in GBNF",
    });
  }
}

/** Optional parts in a row cost a matcher their third power in time. */
const mostOptional = 100;

function checkOptional(root: PatternNode): void {
  if (optionalParts(root) > mostOptional)
    throw new PatternProblem(`more than ${mostOptional} optional parts are not supported`);
}

/** Parts that may be left out, with the copies that repetitions around them make. */
function optionalParts(node: PatternNode): number {
  switch (node.kind) {
    case "sequence":
      return node.parts.reduce((sum, part) => sum + optionalParts(part), 0);
    case "choice":
      return node.options.reduce((sum, option) => sum + optionalParts(option), 0);
    case "repeat":
      return (
        (node.min === 0 ? 1 : 0) + Math.max(1, node.max ?? node.min) * optionalParts(node.part)
      );
    default:
      return 0;
  }
}

function plainChar(set: CharSet): string | null {
  return set.length === 0 ? null : classOf(set);
}

function withoutAnchors(option: PatternNode): {
  readonly fromStart: boolean;
  readonly toEnd: boolean;
  readonly inner: PatternNode;
} {
  const parts = option.kind === "sequence" ? [...option.parts] : [option];
  const fromStart = parts[0]?.kind === "start";
  if (fromStart) parts.shift();
  const toEnd = parts.at(-1)?.kind === "end";
  if (toEnd) parts.pop();
  return { fromStart, toEnd, inner: { kind: "sequence", parts } };
}

function anchored(option: PatternNode, grammar: GrammarBuilder): string {
  const { fromStart, toEnd, inner: plain } = withoutAnchors(option);
  const any = `${grammar.add("any-char", jsonChar(complement([])) ?? "")}*`;
  const inner = write(plain, grammar, jsonChar);
  const whole = sequence(fromStart ? "" : any, inner, toEnd ? "" : any);
  return whole === "" ? '""' : whole;
}

/** `charOf` writes one character of a set; null for an empty one. */
function write(
  node: PatternNode,
  grammar: GrammarBuilder,
  charOf: (set: CharSet) => string | null,
): string {
  switch (node.kind) {
    case "chars": {
      const char = charOf(node.set);
      if (char === null) throw new PatternProblem("a character class is empty");
      return char;
    }
    case "sequence":
      return sequence(...node.parts.map((part) => write(part, grammar, charOf)));
    case "choice":
      return oneOf(node.options.map((o) => write(o, grammar, charOf) || '""'));
    case "repeat": {
      if (node.min > maxRepetition || (node.max ?? 0) > maxRepetition)
        throw new PatternProblem(`more than ${maxRepetition} repetitions are not supported`);
      const body = write(node.part, grammar, charOf);
      // Nothing repeated is nothing; a rule that can be empty must not be repeated without end.
      if (body === "") return "";
      if (node.max === null && canBeEmpty(node.part))
        throw new PatternProblem("something that may be empty is repeated without bound");
      return repeat(grammar.add("part", body), node.min, node.max);
    }
    case "start":
    case "end":
      throw new PatternProblem("anchors are only supported at the ends of the pattern");
  }
}

function canBeEmpty(node: PatternNode): boolean {
  switch (node.kind) {
    case "chars":
      return false;
    case "sequence":
      return node.parts.every(canBeEmpty);
    case "choice":
      return node.options.some(canBeEmpty);
    case "repeat":
      return node.min === 0 || canBeEmpty(node.part);
    default:
      return true;
  }
}
