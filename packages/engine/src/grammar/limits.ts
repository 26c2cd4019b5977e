/**
 * How large a grammar may be. libllama's parser and matcher are recursive native code without limits of their own: a
 * grammar that is too deep or too long ends the process. Found by trial: 9,990 rules that lead to each other overflow the
 * stack, 6,000 do not. A grammar within these bounds can still be slow (many optional parts in a row); those that are
 * made here avoid it, one that a client wrote may not.
 */
import { MillraceError } from "@millrace/core";

const most = {
  /** Characters. */
  text: 300_000,
  rules: 5000,
  /** Brackets inside brackets. */
  nesting: 200,
  /** Copies that bounded repetitions make, all together. */
  copies: 200_000,
} as const;

/** A literal, a class, a comment, a repetition, a bracket, or the sign of a rule. */
const part = /"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|#[^\n]*|\{([^}]*)\}|[()]|::=/g;

/** Throws GRAMMAR_INVALID for a grammar that could take the engine down; says nothing of its syntax. */
export function checkGrammarSize(grammar: string): void {
  if (grammar.length > most.text) refuse(`it has ${grammar.length} characters`, `${most.text}`);
  let [rules, depth, copies] = [0, 0, 0];
  for (const [found, counts] of grammar.matchAll(part)) {
    if (found === "::=") rules++;
    else if (found === "(") depth++;
    else if (found === ")") depth--;
    else if (counts !== undefined)
      copies += Math.max(0, ...counts.split(",").map((count) => Number(count) || 0));
    if (depth > most.nesting) refuse("its brackets nest too deeply", `${most.nesting}`);
  }
  if (rules > most.rules) refuse(`it has ${rules} rules`, `${most.rules}`);
  if (copies > most.copies) refuse(`its repetitions make ${copies} copies`, `${most.copies}`);
}

function refuse(what: string, limit: string): never {
  throw new MillraceError("GRAMMAR_INVALID", `the grammar is too large: ${what}`, {
    hint: `at most ${limit}`,
  });
}
