/** JSON Patch (RFC 6902, as far as used: add, replace, remove, test) and JSON Merge Patch (RFC 7396). */
import { isDeepStrictEqual } from "node:util";
import { StatusError, type Stored } from "./store.conformance.ts";

type Tree = { [key: string]: unknown } | unknown[];

/** A changed copy. Throws 422 for a path that is not there or a test that fails. */
export function jsonPatch(object: Stored, operations: unknown): Stored {
  const copy = structuredClone(object);
  if (!Array.isArray(operations)) throw new StatusError(400, "BadRequest", "a patch is a list");
  for (const { op, path, value } of operations as { op: string; path: string; value: unknown }[]) {
    const refuse = (why: string): never => {
      throw new StatusError(
        422,
        "Invalid",
        `the server rejected our request: ${op} ${path}: ${why}`,
      );
    };
    const keys = path
      .split("/")
      .slice(1)
      .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = keys.pop() ?? refuse("no path");
    let at: Tree = copy;
    for (const key of keys) {
      const next = (at as Record<string, unknown>)[key];
      if (next === null || typeof next !== "object") refuse("missing path");
      at = next as Tree;
    }
    const target = at as Record<string, unknown>;
    const there = Object.hasOwn(target, last);
    if (op !== "add" && !there) refuse("missing path");
    if (op === "test" && !isDeepStrictEqual(target[last], value)) refuse("testing value failed");
    if (Array.isArray(at) && op === "add")
      at.splice(last === "-" ? at.length : Number(last), 0, value);
    else if (op === "add" || op === "replace") target[last] = value;
    else if (op === "remove") delete target[last];
    else if (op !== "test") refuse("unknown operation");
  }
  return copy;
}

/** A changed copy; null removes. */
export function mergePatch(object: Stored, change: unknown): Stored {
  return merged(object, change) as Stored;
}

function merged(value: unknown, change: unknown): unknown {
  if (change === null || typeof change !== "object" || Array.isArray(change)) return change;
  const base =
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? structuredClone(value)
      : {};
  const result = base as Record<string, unknown>;
  for (const [key, item] of Object.entries(change)) {
    if (item === null) delete result[key];
    else result[key] = merged(result[key], item);
  }
  return result;
}
