/** Objects: members in the order of the schema, optional ones left out at will, further ones at the end. */
import { shortEscapes } from "./char-set.ts";
import { literal, oneOf, sequence } from "./gbnf.ts";
import type { JsonRules } from "./json-rules.ts";
import { oneOfTexts } from "./prefix-tree.ts";

export interface Member {
  readonly key: string;
  /** Rule of the value. */
  readonly value: string;
  readonly required: boolean;
}

/** The body of an object. `extra`: rule of the values of further members, null when there may be none. */
export function objectBody(
  members: readonly Member[],
  extra: string | null,
  json: JsonRules,
  hint: string,
): string {
  const { grammar, ws } = json;
  const extraMember =
    extra === null
      ? null
      : grammar.add(`${hint}-extra`, `${otherKey(members, json, hint)} ":" ${ws} ${extra}`);
  if (members.length === 0)
    return extraMember === null ? `"{" ${ws} "}"` : json.members(extraMember);
  const moreExtra =
    extraMember === null ? "" : `${grammar.add("more", `"," ${ws} ${extraMember}`)}*`;
  // From the last member to the first: what may follow once something stands there, and while nothing does.
  let tail = moreExtra;
  let head = extraMember === null ? "" : `(${extraMember} ${moreExtra})?`;
  for (let i = members.length - 1; i >= 0; i--) {
    const m = members[i] as Member;
    const own = grammar.add(`${hint}-${m.key}-kv`, json.member(m.key, m.value));
    const withOwn = sequence(own, tail);
    head = m.required ? withOwn : oneOf([withOwn, head === "" ? '""' : head]);
    const follow = `"," ${ws} ${own}`;
    tail = grammar.add(
      `${hint}-${m.key}-on`,
      m.required ? sequence(follow, tail) : sequence(`(${follow})?`, tail),
    );
    head = grammar.add(`${hint}-${m.key}-first`, head);
  }
  return `"{" ${ws} ${head} ${ws} "}"`;
}

/** A key that is none of the members': a trie of their characters, left at the first that differs. */
function otherKey(members: readonly Member[], json: JsonRules, hint: string): string {
  if (members.length === 0) return json.string;
  const rest = trie(
    members.map((m) => Array.from(m.key)),
    json,
    hint,
  );
  return json.grammar.add(`${hint}-other-key`, `"\\"" ${rest}`);
}

function trie(keys: readonly (readonly string[])[], json: JsonRules, hint: string): string {
  const { grammar, char } = json;
  const byFirst = new Map<string, string[][]>();
  let ends = false;
  for (const key of keys) {
    const first = key[0];
    if (first === undefined) {
      ends = true;
      continue;
    }
    const list = byFirst.get(first) ?? [];
    list.push(key.slice(1));
    byFirst.set(first, list);
  }
  const free = grammar.add("key-rest", `${char}* "\\""`);
  const parts = ends ? [] : ['"\\""'];
  const codes = [...byFirst.keys()].map((c) => c.codePointAt(0) as number);
  const excluded = codes.map((c) => `\\U${c.toString(16).padStart(8, "0")}`).join("");
  parts.push(`[^"\\\\\\x00-\\x1f${excluded}] ${free}`);
  for (const [code, short] of shortEscapes)
    if (!codes.includes(code)) parts.push(`${literal(short)} ${free}`);
  if (codes.every((c) => c >= 0x20)) parts.push(`"\\\\u00" [01] [0-9a-f] ${free}`);
  for (const [first, rest] of byFirst)
    parts.push(`${jsonLiteral(first)} ${trie(rest, json, hint)}`);
  return grammar.add(`${hint}-key`, oneOf(parts));
}

function jsonLiteral(char: string): string {
  return literal(JSON.stringify(char).slice(1, -1));
}

/** One of some JSON values (at least one). */
export function constantBodies(values: readonly unknown[], json: JsonRules): string {
  const isNested = (value: unknown) => typeof value === "object" && value !== null;
  const plain = values.filter((value) => !isNested(value)).map((value) => JSON.stringify(value));
  const nested = values.filter(isNested).map((value) => constantBody(value, json));
  return oneOf([...(plain.length === 0 ? [] : [oneOfTexts(plain)]), ...nested]);
}

/** The literal of a JSON value, with white space where an object or array may have it. */
function constantBody(value: unknown, json: JsonRules): string {
  const { ws } = json;
  const list = (open: string, items: readonly string[], close: string): string =>
    sequence(literal(open), ws, items.join(` "," ${ws} `), ws, literal(close));
  if (Array.isArray(value))
    return list(
      "[",
      value.map((v) => constantBody(v, json)),
      "]",
    );
  if (typeof value === "object" && value !== null)
    return list(
      "{",
      Object.entries(value).map(([k, v]) => json.member(k, constantBody(v, json))),
      "}",
    );
  return literal(JSON.stringify(value));
}
