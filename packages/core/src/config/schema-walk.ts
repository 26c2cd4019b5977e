/** Reading zod schemas: what a place in the data may hold, in words, and which keys it knows. */
import { z } from "zod";
import type { Path } from "./path.ts";

type Schema = z.core.$ZodType;

const expectations = z.registry<{ readonly expected: string }>();

/** Names what a schema expects (`a size such as 512MiB`), for schemas whose parts do not say it. Returns the schema. */
export function expecting<S extends Schema>(schema: S, expected: string): S {
  expectations.add(schema, { expected });
  return schema;
}

const definition = (schema: Schema): z.core.$ZodTypes["_zod"]["def"] =>
  (schema as z.core.$ZodTypes)._zod.def;

/** The schema under defaults, optionals, lazies and the input side of pipes. */
export function unwrap(schema: Schema): Schema {
  let at = schema;
  for (let i = 0; i < 100; i++) {
    if (expectations.has(at)) return at;
    const def = definition(at);
    switch (def.type) {
      case "optional":
      case "nullable":
      case "default":
      case "prefault":
      case "nonoptional":
      case "catch":
      case "readonly":
        at = def.innerType;
        break;
      case "pipe":
        at = definition(def.in).type === "transform" ? def.out : def.in;
        break;
      case "lazy":
        at = def.getter();
        break;
      default:
        return at;
    }
  }
  return at;
}

/** Union and intersection parts that can hold the value, unwrapped; a discriminated union offers its matching options. */
export function options(schema: Schema, value: unknown): Schema[] {
  const at = unwrap(schema);
  const def = definition(at);
  if (def.type === "intersection")
    return [...options(def.left, value), ...options(def.right, value)];
  if (def.type !== "union") return [at];
  const discriminator = "discriminator" in def ? String(def.discriminator) : undefined;
  const all = def.options.map(unwrap);
  if (discriminator !== undefined && typeof value === "object" && value !== null) {
    const tag = (value as Record<string, unknown>)[discriminator];
    const matching = all.filter((option) => {
      const inner = definition(option);
      const field = inner.type === "object" ? inner.shape[discriminator] : undefined;
      return field === undefined || z.safeParse(field, tag).success;
    });
    if (matching.length > 0) return matching.flatMap((option) => options(option, value));
  }
  return all.flatMap((option) => options(option, value));
}

/** The schemas that the data's place `path` may be parsed by; empty when the path is unknown. */
export function schemasAt(schema: Schema, path: Path, data: unknown): Schema[] {
  let at: Schema[] = [schema];
  let value = data;
  for (const key of path) {
    const next: Schema[] = [];
    for (const option of at.flatMap((s) => options(s, value))) {
      const def = definition(option);
      if (def.type === "object") {
        const field = Object.hasOwn(def.shape, key) ? def.shape[String(key)] : def.catchall;
        if (field !== undefined && definition(field).type !== "never") next.push(field);
      } else if (def.type === "record") next.push(def.valueType);
      else if (def.type === "array") next.push(def.element);
      else if (def.type === "tuple") {
        const item = def.items[Number(key)] ?? def.rest;
        if (item) next.push(item);
      }
    }
    at = next;
    value =
      typeof value === "object" && value !== null
        ? (value as Record<string | number, unknown>)[key]
        : undefined;
  }
  return at;
}

/** Keys that the mappings among the schemas know. */
export function knownKeys(schemas: readonly Schema[], value: unknown): string[] {
  const keys = new Set<string>();
  for (const option of schemas.flatMap((s) => options(s, value))) {
    const def = definition(option);
    if (def.type === "object") for (const key of Object.keys(def.shape)) keys.add(key);
    if (def.type === "record")
      for (const text of choices(def.keyType)) if (typeof text === "string") keys.add(text);
  }
  return [...keys];
}

/** Paths of all keys of this name, at most four levels deep. */
export function findKey(schema: Schema, name: string, value: unknown, path: Path = []): Path[] {
  if (path.length >= 4) return [];
  const found: Path[] = [];
  for (const option of options(schema, value)) {
    const def = definition(option);
    if (def.type !== "object") continue;
    for (const [key, field] of Object.entries(def.shape)) {
      const inner = [...path, key];
      if (key === name) found.push(inner);
      const below =
        typeof value === "object" && value !== null
          ? (value as Record<string, unknown>)[key]
          : undefined;
      found.push(...findKey(field, name, below, inner));
    }
  }
  return found;
}

/** The values a schema lists one by one (enums, literals and unions of them). */
export function choices(schema: Schema): z.core.util.Primitive[] {
  const at = unwrap(schema);
  const def = definition(at);
  if (def.type === "enum") return Object.values(def.entries);
  if (def.type === "literal") return [...def.values];
  if (def.type === "union") return def.options.flatMap(choices);
  return [];
}

/** What the schema accepts, as the object of `expected`: `a whole number >= 1`, `one of "a", "b"`. */
export function describeSchema(schema: Schema): string {
  const at = unwrap(schema);
  const known = expectations.get(at);
  if (known !== undefined) return known.expected;
  const def = definition(at);
  switch (def.type) {
    case "string":
      return describeText(def);
    case "number":
      return describeNumber(def);
    case "boolean":
      return "true or false";
    case "null":
    case "undefined":
      return "nothing";
    case "enum":
    case "literal":
      return oneOf(choices(at));
    case "array":
      return `a list${lengths(def.checks)}`;
    case "tuple":
      return `a list of ${def.items.length}`;
    case "object":
    case "record":
    case "map":
      return "a mapping of keys to values";
    case "union":
      return describeSchemas(def.options);
    case "never":
      return "nothing here";
    default:
      return "another value";
  }
}

/** What any of the schemas accepts; listed values are put together. */
export function describeSchemas(schemas: readonly Schema[]): string {
  const parted = schemas.flatMap(parts);
  const listed = parted.flatMap(choices);
  const others = parted.filter((schema) => choices(schema).length === 0);
  const words = others.map(describeSchema);
  if (listed.length > 0) words.push(oneOf(listed));
  return [...new Set(words)].join(" or ");
}

/** The options of a union that has no words of its own, at any depth; else the schema. */
function parts(schema: Schema): Schema[] {
  const at = unwrap(schema);
  const def = definition(at);
  return def.type === "union" && !expectations.has(at) ? def.options.flatMap(parts) : [at];
}

function oneOf(values: readonly z.core.util.Primitive[]): string {
  const words = [...new Set(values.map((v) => JSON.stringify(v) ?? String(v)))];
  return words.length === 1 ? (words[0] as string) : `one of ${words.join(", ")}`;
}

type Checks = readonly z.core.$ZodCheck<never>[] | undefined;

const checksOf = (checks: Checks): z.core.$ZodChecks["_zod"]["def"][] =>
  (checks ?? []).map((check) => (check as unknown as z.core.$ZodChecks)._zod.def);

function describeNumber(def: { readonly checks?: Checks; readonly format?: string }): string {
  let whole = def.format?.includes("int") ?? false;
  let low: string | undefined;
  let high: string | undefined;
  let multiple = "";
  for (const check of checksOf(def.checks)) {
    if (check.check === "number_format") whole ||= check.format.includes("int");
    if (check.check === "greater_than") low = `${check.inclusive ? ">=" : ">"} ${check.value}`;
    if (check.check === "less_than") high = `${check.inclusive ? "<=" : "<"} ${check.value}`;
    if (check.check === "multiple_of") multiple = ` that is a multiple of ${check.value}`;
  }
  const range = [low, high].filter((part) => part !== undefined).join(" and ");
  return `a ${whole ? "whole number" : "number"}${range && ` ${range}`}${multiple}`;
}

function describeText(def: { readonly checks?: Checks; readonly format?: string }): string {
  const parts: string[] = [];
  if (def.format !== undefined && def.format !== "regex") parts.push(` (${def.format})`);
  for (const check of checksOf(def.checks)) {
    if (check.check !== "string_format") continue;
    parts.push(check.format === "regex" ? ` that matches ${check.pattern}` : ` (${check.format})`);
  }
  return `text${lengths(def.checks, " characters")}${parts.join("")}`;
}

function lengths(checks: Checks, unit = ""): string {
  for (const check of checksOf(checks)) {
    if (check.check === "min_length") return ` of at least ${check.minimum}${unit}`;
    if (check.check === "max_length") return ` of at most ${check.maximum}${unit}`;
    if (check.check === "length_equals") return ` of ${check.length}${unit}`;
  }
  return "";
}
