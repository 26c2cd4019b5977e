/**
 * JSON schema to GBNF. What the grammar accepts conforms to the schema; two freedoms of JSON are given up: members come
 * in the order of the schema, and an object that lists properties has no others unless additionalProperties says so
 * (a model would make them up). oneOf is read as anyOf. Keywords without a rule here are refused by path.
 */
import { GrammarBuilder, literal, maxRepetition, oneOf, repeat, sequence } from "./gbnf.ts";
import { JsonRules } from "./json-rules.ts";
import { type Bound, integerRange, numberRange } from "./number-range.ts";
import { constantBodies, type Member, objectBody } from "./object-rules.ts";
import { PatternProblem } from "./pattern-syntax.ts";
import {
  count,
  isObject,
  numeric,
  pointer,
  resolve,
  type Schema,
  unsupported,
} from "./schema-node.ts";
import { stringFormats } from "./string-formats.ts";
import { patternRules } from "./string-pattern.ts";

const typeNames = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
type TypeName = (typeof typeNames)[number];

const annotations = new Set([
  ..."title description default examples example deprecated readOnly writeOnly".split(" "),
  ..."$schema $id $anchor $comment $defs definitions strict".split(" "),
]);

/** Keywords that mean a type when `type` is absent, and that go with it. */
const keywordsOf: Readonly<Record<TypeName, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  boolean: [],
  null: [],
};

const maxDepth = 64;
const maxRules = 20_000;

/**
 * The grammar of the values that conform to `schema`.
 * @throws MillraceError SCHEMA_UNSUPPORTED, naming the path of what is not supported or not a schema.
 */
export function jsonSchemaToGbnf(schema: unknown): string {
  const grammar = new GrammarBuilder();
  const converter = new SchemaConverter(schema, grammar);
  return grammar.text(converter.rule(schema, "", "value-of-schema"));
}

/** Turns schemas of one document into rules of one grammar. */
export class SchemaConverter {
  private readonly root: unknown;
  private readonly grammar: GrammarBuilder;
  private readonly json: JsonRules;
  private readonly refs = new Map<unknown, string>();
  private depth = 0;
  /** Schemas that are being converted and have not written anything yet: meeting one again would never end. */
  private bare = new Set<unknown>();

  constructor(root: unknown, grammar: GrammarBuilder, json = new JsonRules(grammar)) {
    this.root = root;
    this.grammar = grammar;
    this.json = json;
  }

  /** The name of the rule of a schema. */
  rule(schema: unknown, path: string, hint: string): string {
    if (this.depth >= maxDepth) unsupported(path, `schemas are nested more than ${maxDepth} deep`);
    if (this.grammar.size > maxRules) unsupported(path, "the schema is too large");
    this.depth++;
    const name = this.dispatch(schema, path, hint);
    this.depth--;
    return name;
  }

  private dispatch(schema: unknown, path: string, hint: string): string {
    if (schema === true) return this.json.value;
    if (schema === false) unsupported(path, "nothing conforms to the schema false");
    if (!isObject(schema)) unsupported(path, `${JSON.stringify(schema)} is not a schema`);
    if (schema.$ref !== undefined) return this.reference(schema, path);
    for (const key of ["anyOf", "oneOf", "allOf"])
      if (schema[key] !== undefined) return this.combination(schema, key, path, hint);
    if (schema.const !== undefined) return this.values(schema, [schema.const], "const", path, hint);
    if (schema.enum !== undefined) {
      const options = schema.enum;
      if (!Array.isArray(options) || options.length === 0)
        unsupported(pointer(path, "enum"), "a list of at least one value is needed");
      return this.values(schema, options, "enum", path, hint);
    }
    const types = this.types(schema, path);
    if (types.length === 0) {
      this.onlyKnown(schema, [], path);
      return this.json.value;
    }
    const known = types.flatMap((t) => keywordsOf[t]);
    this.onlyKnown(schema, ["type", ...known], path);
    const rules = types.map((type) => this.typed(type, schema, path, hint));
    return rules.length === 1 ? (rules[0] as string) : this.grammar.add(hint, oneOf(rules));
  }

  private reference(schema: Schema, path: string): string {
    this.onlyKnown(schema, ["$ref"], path);
    const target = resolve(this.root, schema.$ref, path);
    if (this.bare.has(target))
      unsupported(pointer(path, "$ref"), "the schema refers to itself and to nothing else");
    const known = this.refs.get(target);
    if (known !== undefined) return known;
    const hint = `${schema.$ref}`.split("/").at(-1) ?? "";
    const name = this.grammar.reserve(hint === "#" ? "whole" : hint);
    this.refs.set(target, name);
    this.bare.add(target);
    this.grammar.define(name, this.rule(target, `${schema.$ref}`.slice(1), hint));
    this.bare.delete(target);
    return name;
  }

  /** Converts what stands behind an opening bracket: references to what is being converted are harmless there. */
  private inside<T>(convert: () => T): T {
    const bare = this.bare;
    this.bare = new Set();
    const result = convert();
    this.bare = bare;
    return result;
  }

  private combination(schema: Schema, key: string, path: string, hint: string): string {
    const options = schema[key];
    const at = pointer(path, key);
    if (!Array.isArray(options) || options.length === 0)
      unsupported(at, "a list of at least one schema is needed");
    if (key === "allOf" && options.length > 1)
      unsupported(at, "allOf of several schemas is not supported");
    this.onlyKnown(schema, [key, "type"], path);
    const type = schema.type;
    const rules = options.map((option, i) => {
      const narrowed =
        type !== undefined &&
        isObject(option) &&
        option.type === undefined &&
        option.$ref === undefined
          ? { type, ...option }
          : option;
      return this.rule(narrowed, pointer(at, i), `${hint}-${i + 1}`);
    });
    return this.grammar.add(hint, oneOf([...new Set(rules)]));
  }

  private values(
    schema: Schema,
    options: readonly unknown[],
    key: string,
    path: string,
    hint: string,
  ): string {
    this.onlyKnown(schema, ["type", key], path);
    const types = schema.type === undefined ? null : this.types(schema, path);
    const fitting = options.filter((v) => types === null || types.some((t) => isOf(v, t)));
    if (fitting.length === 0)
      unsupported(pointer(path, key), "no value has the type that is asked for");
    return this.grammar.add(hint, constantBodies(fitting, this.json));
  }

  private types(schema: Schema, path: string): readonly TypeName[] {
    const given = schema.type;
    if (given === undefined)
      return typeNames.filter(
        (t) => t !== "integer" && keywordsOf[t].some((k) => schema[k] !== undefined),
      );
    const list: readonly unknown[] = Array.isArray(given) ? given : [given];
    const bad = list.find((t) => !typeNames.includes(t as TypeName));
    if (list.length === 0 || bad !== undefined)
      unsupported(
        pointer(path, "type"),
        `${JSON.stringify(bad ?? given)} is not a type`,
        `types are ${typeNames.join(", ")}`,
      );
    return list as readonly TypeName[];
  }

  private typed(type: TypeName, schema: Schema, path: string, hint: string): string {
    switch (type) {
      case "object":
        return this.inside(() => this.object(schema, path, hint));
      case "array":
        return this.inside(() => this.array(schema, path, hint));
      case "string":
        return this.string(schema, path, hint);
      case "number":
      case "integer":
        return this.number(schema, path, hint, type === "integer");
      case "boolean":
        return this.json.boolean;
      case "null":
        return this.grammar.add("null", '"null"');
    }
  }

  private object(schema: Schema, path: string, hint: string): string {
    const properties = schema.properties ?? {};
    if (!isObject(properties)) unsupported(pointer(path, "properties"), "it is not an object");
    const required = schema.required ?? [];
    if (!Array.isArray(required) || required.some((r) => typeof r !== "string"))
      unsupported(pointer(path, "required"), "it is not a list of names");
    const extra = schema.additionalProperties ?? Object.keys(properties).length === 0;
    if (schema.properties === undefined && required.length === 0 && extra === true)
      return this.json.object;
    const members: Member[] = [];
    for (const [key, value] of Object.entries(properties)) {
      const at = pointer(pointer(path, "properties"), key);
      const must = required.includes(key);
      if (value === false && !must) continue;
      members.push({ key, required: must, value: this.rule(value, at, `${hint}-${key}`) });
    }
    const more =
      extra === false
        ? null
        : this.rule(extra, pointer(path, "additionalProperties"), `${hint}-other`);
    for (const name of required as readonly string[]) {
      if (Object.hasOwn(properties, name)) continue;
      if (more === null)
        unsupported(pointer(path, "required"), `"${name}" is required but not allowed`);
      members.push({ key: name, required: true, value: more });
    }
    return this.grammar.add(hint, objectBody(members, more, this.json, hint));
  }

  private array(schema: Schema, path: string, hint: string): string {
    if (schema.uniqueItems === true)
      unsupported(pointer(path, "uniqueItems"), "a grammar cannot tell items apart");
    const prefix = schema.prefixItems ?? [];
    if (!Array.isArray(prefix))
      unsupported(pointer(path, "prefixItems"), "it is not a list of schemas");
    const items = schema.items ?? true;
    const min = count(schema, "minItems", path, 0);
    const most = count(schema, "maxItems", path, null);
    if (min > maxRepetition || (most ?? 0) > maxRepetition)
      unsupported(path, `more than ${maxRepetition} items are not supported`);
    if (most !== null && most < min)
      unsupported(pointer(path, "maxItems"), `${most} is below minItems ${min}`);
    const { ws } = this.json;
    const first = prefix.map((p, i) =>
      this.rule(p, pointer(pointer(path, "prefixItems"), i), `${hint}-${i + 1}`),
    );
    const limit = items === false ? Math.min(most ?? first.length, first.length) : most;
    if (limit !== null && limit < min)
      unsupported(pointer(path, "minItems"), `there are only ${limit} items`);
    const rest =
      limit !== null && limit <= first.length
        ? null
        : this.rule(items, pointer(path, "items"), `${hint}-item`);
    // From the back: what may follow when so many items stand there already.
    const comma = `"," ${ws}`;
    const used = first.slice(0, limit ?? first.length);
    let tail = "";
    if (rest !== null) {
      const follow = this.grammar.add(`${hint}-more`, `${comma} ${rest}`);
      const done = Math.max(1, used.length);
      tail = repeat(follow, Math.max(0, min - done), limit === null ? null : limit - done);
    }
    for (let i = used.length - 1; i >= 1; i--) {
      const item = sequence(comma, used[i] as string, tail);
      tail = i < min ? item : this.grammar.add(`${hint}-rest`, `(${item})?`);
    }
    const head = used[0] ?? rest;
    const all = head === null || limit === 0 ? "" : sequence(head, tail);
    const content = all === "" || min > 0 ? all : `(${all})?`;
    return this.grammar.add(hint, sequence('"["', ws, content, ws, '"]"'));
  }

  private string(schema: Schema, path: string, hint: string): string {
    const min = count(schema, "minLength", path, 0);
    const max = count(schema, "maxLength", path, null);
    const { pattern, format } = schema;
    const bounded = min > 0 || max !== null;
    if ([bounded, pattern !== undefined, format !== undefined].filter(Boolean).length > 1)
      unsupported(
        path,
        "length, pattern and format cannot be combined",
        "put the length into the pattern, as in ^[a-z]{2,5}$",
      );
    if (min > maxRepetition || (max ?? 0) > maxRepetition)
      unsupported(path, `lengths above ${maxRepetition} are not supported`);
    if (max !== null && max < min)
      unsupported(pointer(path, "maxLength"), `${max} is below minLength ${min}`);
    const quoted = (body: string): string =>
      this.grammar.add(hint, sequence(literal('"'), body, literal('"')));
    if (format !== undefined) {
      const body =
        typeof format === "string" && Object.hasOwn(stringFormats, format)
          ? stringFormats[format]
          : undefined;
      if (body === undefined)
        unsupported(
          pointer(path, "format"),
          `${JSON.stringify(format)} is not known`,
          `formats are ${Object.keys(stringFormats).join(", ")}`,
        );
      return quoted(body);
    }
    if (pattern !== undefined) {
      if (typeof pattern !== "string") unsupported(pointer(path, "pattern"), "it is not a text");
      try {
        return quoted(patternRules(pattern, this.grammar));
      } catch (error) {
        if (error instanceof PatternProblem) unsupported(pointer(path, "pattern"), error.message);
        throw error;
      }
    }
    return bounded ? quoted(repeat(this.json.char, min, max)) : this.json.string;
  }

  private number(schema: Schema, path: string, hint: string, whole: boolean): string {
    const multiple = numeric(schema, "multipleOf", path);
    if (multiple !== null && !(whole && multiple === 1))
      unsupported(
        pointer(path, "multipleOf"),
        "multiples are not supported",
        "write the allowed values as enum",
      );
    const low = tighter(
      bound(schema, "minimum", path, false),
      bound(schema, "exclusiveMinimum", path, true),
      1,
    );
    const high = tighter(
      bound(schema, "maximum", path, false),
      bound(schema, "exclusiveMaximum", path, true),
      -1,
    );
    if (low === null && high === null) return whole ? this.json.integer : this.json.number;
    const body = whole ? integerRange(low, high) : numberRange(low, high);
    if (body === undefined) unsupported(path, "bounds with an exponent are not supported");
    if (body === null) unsupported(path, "no number lies between minimum and maximum");
    return this.grammar.add(hint, body);
  }

  private onlyKnown(schema: Schema, known: readonly string[], path: string): void {
    for (const key of Object.keys(schema)) {
      if (annotations.has(key) || known.includes(key) || schema[key] === undefined) continue;
      const beside = known.filter((k) => k !== "type" && schema[k] !== undefined)[0];
      const where = beside === undefined ? "" : ` beside ${beside}`;
      unsupported(pointer(path, key), `the keyword "${key}" is not supported${where}`);
    }
  }
}

function bound(schema: Schema, key: string, path: string, open: boolean): Bound | null {
  const value = numeric(schema, key, path);
  return value === null ? null : { value, open };
}

/** The narrower of two bounds; `sign` is 1 for lower bounds and -1 for upper ones. */
function tighter(a: Bound | null, b: Bound | null, sign: 1 | -1): Bound | null {
  if (a === null || b === null) return a ?? b;
  return (b.value - a.value) * sign >= 0 ? b : a;
}

function isOf(value: unknown, type: TypeName): boolean {
  switch (type) {
    case "object":
      return isObject(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    case "null":
      return value === null;
    default:
      return typeof value === type;
  }
}
