/** Values from the command line laid over a file: `--set scheduler.chunkSize=512`. */
import { type ErrorCode, MillraceError, type Place } from "../errors.ts";
import { formatPath, type Path, parsePath, setOwn } from "./path.ts";
import { parseSource } from "./source.ts";

/** One applied flag. */
export interface Override {
  readonly path: Path;
  readonly place: Place;
}

/**
 * Sets the values of `path=value` texts in `data` (changed in place) and returns the new root. Values are YAML. Missing
 * mappings on the way are made; a list may be extended by its next index. Throws MillraceError with the flag as place.
 */
export function applyOverrides(
  data: unknown,
  set: readonly string[],
): { readonly data: unknown; readonly overrides: readonly Override[] } {
  const root: unknown = data ?? {};
  const overrides = set.map((text) => {
    const place: Place = { file: `--set ${text}` };
    const fail = (message: string, hint?: string, code: ErrorCode = "CONFIG_INVALID"): never => {
      throw new MillraceError(code, message, { at: place, ...(hint !== undefined && { hint }) });
    };
    const equals = text.indexOf("=");
    const path = equals < 0 ? null : parsePath(text.slice(0, equals));
    if (path === null)
      return fail(
        `expected path=value, got ${JSON.stringify(text)}`,
        "write for instance --set scheduler.chunkSize=512",
      );
    let value: unknown;
    try {
      value = parseSource(text.slice(equals + 1), place.file, "yaml").data;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return fail(`${formatPath(path)}: ${error.message}`, error.hint, error.code);
    }
    return { path: assign(root, path, value, fail), place };
  });
  return { data: root, overrides };
}

/** Sets the value and returns the path with list indices as numbers. */
function assign(root: unknown, path: Path, value: unknown, fail: (message: string) => never): Path {
  let at: unknown = root;
  const found: (string | number)[] = [];
  for (const [i, key] of path.entries()) {
    const last = i === path.length - 1;
    if (Array.isArray(at)) {
      const index = Number(key);
      if (!Number.isInteger(index) || index < 0 || index > at.length)
        fail(
          `${formatPath(found) || "the configuration"}: a list of ${at.length} has no entry ${key}`,
        );
      found.push(index);
      if (last) at[index] = value;
      else {
        at[index] ??= emptyFor(path[i + 1]);
        at = at[index];
      }
    } else if (typeof at === "object" && at !== null) {
      const mapping = at as Record<string, unknown>;
      const name = String(key);
      found.push(name);
      if (last) setOwn(mapping, name, value);
      else {
        if (!Object.hasOwn(mapping, name) || mapping[name] === null)
          setOwn(mapping, name, emptyFor(path[i + 1]));
        at = mapping[name];
      }
    } else fail(`${formatPath(found) || "the configuration"}: ${JSON.stringify(at)} has no keys`);
  }
  return found;
}

const emptyFor = (key: string | number | undefined): unknown => (typeof key === "number" ? [] : {});
