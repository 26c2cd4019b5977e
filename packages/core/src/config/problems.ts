/** zod issues turned into sentences about paths and values. */
import type { z } from "zod";
import { didYouMean } from "../suggest.ts";
import { formatPath, type Path, valueAt } from "./path.ts";
import { choices, describeSchemas, findKey, knownKeys, schemasAt } from "./schema-walk.ts";

type Schema = z.core.$ZodType;
type Issue = z.core.$ZodIssue;

/** One thing wrong with the data. */
export interface Problem {
  readonly kind: "unknown" | "missing" | "value";
  readonly path: Path;
  readonly message: string;
  readonly hint: string | undefined;
}

/**
 * The problems behind the issues of parsing `data` by `schema`, in the order of the issues. A custom issue whose
 * `params.hint` is a text is told in its own words, with that hint.
 */
export function problemsOf(issues: readonly Issue[], schema: Schema, data: unknown): Problem[] {
  const all = issues.flatMap((issue) => problemsOfIssue(issue, [], schema, data));
  // A mistyped key is both unknown and, under its right name, missing: say the first only.
  return all.filter(
    (problem) =>
      problem.kind !== "missing" ||
      !all.some(
        (other) =>
          other.kind === "unknown" &&
          other.path.length === problem.path.length &&
          formatPath(other.path.slice(0, -1)) === formatPath(problem.path.slice(0, -1)) &&
          didYouMean(String(other.path.at(-1)), [String(problem.path.at(-1))]) !== null,
      ),
  );
}

function problemsOfIssue(issue: Issue, prefix: Path, schema: Schema, data: unknown): Problem[] {
  const path: Path = [
    ...prefix,
    ...issue.path.map((key) => (typeof key === "number" ? key : String(key))),
  ];
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => unknownKey([...path, key], schema, data));
  if (issue.code === "invalid_key") return [unknownKey(path, schema, data)];
  const value = valueAt(data, path);
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const branch = bestBranch(issue.errors, value);
    if (branch !== null)
      return branch.flatMap((inner) => problemsOfIssue(inner, path, schema, data));
  }
  if (issue.code === "custom" && typeof issue.params?.hint === "string") {
    const message = `${named(path)}: ${issue.message}`;
    return [
      { kind: value === undefined ? "missing" : "value", path, message, hint: issue.params.hint },
    ];
  }
  if (issue.code === "custom" && value !== undefined) {
    const shown =
      typeof value === "object" && value !== null ? "" : `, got ${describeValue(value)}`;
    return [
      { kind: "value", path, message: `${named(path)}: ${issue.message}${shown}`, hint: undefined },
    ];
  }
  const schemas = schemasAt(schema, path, data);
  const expected = describeSchemas(schemas) || issue.message;
  const listed = schemas.flatMap(choices).filter((choice) => typeof choice === "string");
  const near = typeof value === "string" ? didYouMean(value, listed) : null;
  return [
    {
      kind: value === undefined ? "missing" : "value",
      path,
      message:
        value === undefined
          ? `${named(path)}: missing; expected ${expected}`
          : `${named(path)}: expected ${expected}, got ${describeValue(value)}`,
      hint: near === null ? undefined : `did you mean ${JSON.stringify(near)}?`,
    },
  ];
}

function unknownKey(path: Path, schema: Schema, data: unknown): Problem {
  const key = String(path.at(-1));
  const container = path.slice(0, -1);
  const value = valueAt(data, container);
  const known = knownKeys(schemasAt(schema, container, data), value);
  const near = didYouMean(key, known);
  const elsewhere = findKey(schema, key, data).filter(
    (found) => formatPath(found) !== formatPath(path),
  );
  let hint: string | undefined;
  if (near !== null) hint = `did you mean ${JSON.stringify(near)}?`;
  else if (elsewhere[0] !== undefined) hint = `the key is known as ${formatPath(elsewhere[0])}`;
  else if (known.length > 0)
    hint = `keys here are ${known.slice(0, 12).join(", ")}${known.length > 12 ? ", …" : ""}`;
  return { kind: "unknown", path, message: `${named(path)}: unknown key`, hint };
}

/**
 * The issues of the union option the writer most likely meant, or null when the value is of no option's kind. An
 * option is meant when nothing is wrong with the kind of the value itself; the one with the fewest issues is taken,
 * where an unknown or wrongly tagged key counts more than a wrong value. Of a plain value only an option's own words
 * (custom issues) are worth more than the list of everything that is accepted.
 */
function bestBranch(
  branches: readonly (readonly Issue[])[],
  value: unknown,
): readonly Issue[] | null {
  const structured = typeof value === "object" && value !== null;
  let best: readonly Issue[] | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const branch of branches) {
    const other = branch.some(
      (issue) =>
        issue.path.length === 0 &&
        (issue.code === "invalid_type" || issue.code === "invalid_value"),
    );
    if (other || (!structured && branch.every((issue) => issue.code !== "custom"))) continue;
    let cost = 0;
    for (const issue of branch)
      cost +=
        issue.code === "unrecognized_keys"
          ? 3 * issue.keys.length
          : issue.code === "invalid_value"
            ? 5
            : 1;
    if (cost < least) {
      least = cost;
      best = branch;
    }
  }
  return best;
}

const named = (path: Path): string => formatPath(path) || "the configuration";

/** A value in words that fit into a line. */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value))
    return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (typeof value === "object") return "a mapping";
  if (typeof value !== "string") return String(value);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : value);
}
