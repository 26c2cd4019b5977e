/** Patterns as rules for what stands between the quotes of a JSON string. */
import { complement, jsonChar } from "./char-set.ts";
import { type GrammarBuilder, maxRepetition, oneOf, repeat, sequence } from "./gbnf.ts";
import { type PatternNode, PatternProblem, parsePattern } from "./pattern-syntax.ts";

/**
 * Rules for a string that a pattern matches somewhere, as JSON schema has it: without ^ and $ anything may stand before
 * and behind. Anchors may stand at the ends of the pattern or of its outermost alternatives.
 * @throws PatternProblem for what the subset leaves out.
 */
export function patternRules(source: string, grammar: GrammarBuilder): string {
  const root = parsePattern(source);
  const options = root.kind === "choice" ? root.options : [root];
  return oneOf(options.map((option) => anchored(option, grammar)));
}

function anchored(option: PatternNode, grammar: GrammarBuilder): string {
  const parts = option.kind === "sequence" ? [...option.parts] : [option];
  const fromStart = parts[0]?.kind === "start";
  if (fromStart) parts.shift();
  const toEnd = parts.at(-1)?.kind === "end";
  if (toEnd) parts.pop();
  const any = `${grammar.add("any-char", jsonChar(complement([])) ?? "")}*`;
  const inner = write({ kind: "sequence", parts }, grammar);
  const whole = sequence(fromStart ? "" : any, inner, toEnd ? "" : any);
  return whole === "" ? '""' : whole;
}

function write(node: PatternNode, grammar: GrammarBuilder): string {
  switch (node.kind) {
    case "chars": {
      const char = jsonChar(node.set);
      if (char === null) throw new PatternProblem("a character class is empty");
      return char;
    }
    case "sequence":
      return sequence(...node.parts.map((part) => write(part, grammar)));
    case "choice":
      return oneOf(node.options.map((o) => write(o, grammar) || '""'));
    case "repeat": {
      if (node.min > maxRepetition || (node.max ?? 0) > maxRepetition)
        throw new PatternProblem(`more than ${maxRepetition} repetitions are not supported`);
      const body = write(node.part, grammar);
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
