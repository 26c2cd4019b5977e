/** Reading of untrusted schema values, with errors that name the path. */
import { MillraceError } from "@millrace/core";

export type Schema = Readonly<Record<string, unknown>>;

/** Throws SCHEMA_UNSUPPORTED for the keyword at `path`, a JSON pointer. */
export function unsupported(path: string, what: string, hint?: string): never {
  throw new MillraceError(
    "SCHEMA_UNSUPPORTED",
    `schema at ${path === "" ? "its root" : path}: ${what}`,
    {
      hint: hint ?? "leave the keyword out, or write the grammar in GBNF yourself",
    },
  );
}

export function isObject(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A step of a JSON pointer. */
export function pointer(path: string, key: string | number): string {
  return `${path}/${`${key}`.replace(/~/g, "~0").replace(/\//g, "~1")}`;
}

/** A count keyword: a whole number of at least 0, or `otherwise` when absent. */
export function count<T>(schema: Schema, key: string, path: string, otherwise: T): number | T {
  const value = schema[key];
  if (value === undefined) return otherwise;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    unsupported(pointer(path, key), `${JSON.stringify(value)} is not a whole number of at least 0`);
  return value;
}

/** A number keyword, null when absent. */
export function numeric(schema: Schema, key: string, path: string): number | null {
  const value = schema[key];
  if (value === undefined) return null;
  if (typeof value !== "number" || !Number.isFinite(value))
    unsupported(pointer(path, key), `${JSON.stringify(value)} is not a number`);
  return value;
}

/** Follows a local reference ("#", "#/a/b"). */
export function resolve(root: unknown, ref: unknown, path: string): unknown {
  const at = pointer(path, "$ref");
  if (typeof ref !== "string") unsupported(at, `${JSON.stringify(ref)} is not a text`);
  if (ref !== "#" && !ref.startsWith("#/"))
    unsupported(
      at,
      `"${ref}" does not point into this schema`,
      "put the definition under $defs and refer to it as #/$defs/NAME",
    );
  let value = root;
  for (const part of ref.split("/").slice(1)) {
    const key = decode(part).replace(/~1/g, "/").replace(/~0/g, "~");
    const isOwn = typeof value === "object" && value !== null && Object.hasOwn(value, key);
    if (!isOwn) unsupported(at, `"${ref}" points at nothing`);
    value = (value as Schema)[key];
  }
  return value;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
