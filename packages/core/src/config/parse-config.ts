/** Text of a configuration file to validated data, or one sentence that says where and why not. */
import { z } from "zod";
import { MillraceError, type Place } from "../errors.ts";
import { applyOverrides, type Override } from "./overrides.ts";
import { type Path, startsWith } from "./path.ts";
import { type Problem, problemsOf } from "./problems.ts";
import { type Format, parseSource, type Source } from "./source.ts";

/** How to read a configuration. */
export interface ConfigOptions<T> {
  /** Name of the file, for messages. */
  readonly file: string;
  readonly schema: z.ZodType<T>;
  /** `path=value` texts laid over the file; values are YAML. */
  readonly set?: readonly string[];
  /** By default JSON for names that end in .json, else YAML. */
  readonly format?: Format;
}

/**
 * Parses and validates the text. An empty file is an empty mapping. Throws MillraceError CONFIG_SYNTAX or
 * CONFIG_INVALID: the first problem in file order (then those of --set flags), with its place, a did-you-mean where
 * one is near, and the number of further problems.
 */
export function parseConfig<T>(text: string, options: ConfigOptions<T>): T {
  return readConfig(text, options).value;
}

/** A configuration and where its keys stand. */
export interface ReadConfig<T> {
  readonly value: T;
  /** The place of the value at `path`, of its container when it is absent, or the flag that set it. */
  readonly locate: (path: Path) => Place;
}

/** Like parseConfig, for callers that check more than a schema can and want to name the place too. */
export function readConfig<T>(text: string, options: ConfigOptions<T>): ReadConfig<T> {
  const { file, schema, set = [] } = options;
  const format = options.format ?? (file.endsWith(".json") ? "json" : "yaml");
  const source = parseSource(text, file, format);
  const { data, overrides } = applyOverrides(source.data, set);
  let result: z.ZodSafeParseResult<T>;
  try {
    result = schema.safeParse(data);
  } catch (error) {
    // A transform that calls one of our own parsers may throw instead of adding an issue.
    if (!(error instanceof MillraceError) || error.at !== undefined) throw error;
    throw new MillraceError(error.code, error.message, {
      at: { file },
      cause: error,
      ...(error.hint !== undefined && { hint: error.hint }),
    });
  }
  if (result.success) {
    const locate = (path: Path) => placeOf({ path, kind: "value" }, source, overrides);
    return { value: result.data, locate };
  }
  const problems = problemsOf(result.error.issues, schema, data)
    .map((problem) => ({ problem, at: placeOf(problem, source, overrides) }))
    .sort((a, b) => order(a.at, b.at));
  const first = problems[0];
  if (first === undefined) throw new MillraceError("CONFIG_INVALID", "not valid", { at: { file } });
  const more = problems.length - 1;
  const suffix = more === 0 ? "" : ` (and ${more} more problem${more === 1 ? "" : "s"})`;
  const { message, hint } = first.problem;
  throw new MillraceError("CONFIG_INVALID", `${message}${suffix}`, {
    at: first.at,
    ...(hint !== undefined && { hint }),
  });
}

/** The flag that set the value or made its container, else the place in the file. */
function placeOf(
  problem: Pick<Problem, "path" | "kind">,
  source: Source,
  overrides: readonly Override[],
): Place {
  const { path, kind } = problem;
  const last = overrides.findLast((o) => startsWith(path, o.path));
  if (last !== undefined) return last.place;
  if (source.depth(path) < path.length - 1) {
    const maker = overrides.find((o) => startsWith(o.path, path.slice(0, -1)));
    if (maker !== undefined) return maker.place;
  }
  if (kind === "unknown") {
    const setter = overrides.find((o) => startsWith(o.path, path));
    if (setter !== undefined && source.depth(path) < path.length) return setter.place;
  }
  return source.place(path, kind === "value" ? "value" : "key");
}

/** Places in the file by line and column; flags, which have no line, after them in the order given. */
function order(a: Place, b: Place): number {
  const line = (a.line ?? Number.MAX_SAFE_INTEGER) - (b.line ?? Number.MAX_SAFE_INTEGER);
  return line !== 0 ? line : (a.column ?? 0) - (b.column ?? 0);
}

/** JSON schema (draft 2020-12) of what a person may write in the file, for editors. */
export function toJsonSchema(
  schema: z.ZodType,
  id: string,
  title: string,
): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return { $schema, $id: id, title, ...rest };
}
