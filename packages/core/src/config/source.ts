/** Text to plain data, remembering where every key and value stands. YAML 1.2 core schema, or strict JSON. */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseDocument,
} from "yaml";
import { MillraceError, type Place } from "../errors.ts";
import { jsonErrorIndex } from "../json-text.ts";
import { placeAt } from "../place.ts";
import { type Path, setOwn } from "./path.ts";

export type Format = "yaml" | "json";

/** Parsed text. */
export interface Source {
  /** Plain data: null, booleans, numbers, strings, lists and mappings; no cycles. */
  readonly data: unknown;
  /** How many leading keys of the path the text has. */
  depth(path: Path): number;
  /** Where the key (or the value) of the path stands; of its nearest ancestor when the text has no such path. */
  place(path: Path, part: "key" | "value"): Place;
}

/** Deepest nesting accepted; the parser is recursive, and files people write stay far below. */
const maxDepth = 400;
/** Nodes that aliases may add in all: enough for shared settings, too few for an alias bomb. */
const maxAliased = 20_000;

/** Parses the text of `file`. Throws MillraceError CONFIG_SYNTAX with the place of the first problem. */
export function parseSource(text: string, file: string, format: Format): Source {
  const fail = (message: string, offset: number | undefined, hint?: string): never => {
    throw new MillraceError("CONFIG_SYNTAX", message, {
      at: offset === undefined ? { file } : placeAt(text, file, offset),
      ...(hint !== undefined && { hint }),
    });
  };
  const deep = tooDeepAt(text);
  if (deep >= 0) fail(`nested deeper than ${maxDepth} levels`, deep);
  const json = format === "json" ? parseJson(text, fail) : undefined;
  const document = parseYaml(text);
  if (document === null) return fail("nested too deeply to be read", undefined);
  for (const error of document.errors) {
    const [offset] = error.pos;
    if (error.code === "DUPLICATE_KEY")
      fail(`a second value for the key ${wordAt(text, offset)}`, offset);
    if (format === "yaml") fail(sentence(error.message), offset, hints[error.code]);
  }
  for (const warning of document.warnings) {
    // Plain JSON has no tags; what the YAML parser warns about there is not our concern.
    if (format === "yaml")
      fail(
        sentence(warning.message),
        warning.pos[0],
        "tags and directives are not used here; remove them",
      );
  }
  const data = json === undefined ? toData(document, fail) : json.data;
  return {
    data,
    depth: (path) => walk(document, path).depth,
    place: (path, part) => {
      const { key, value } = walk(document, path);
      const node = part === "key" ? (key ?? value) : (value ?? key);
      return placeAt(text, file, node?.range?.[0] ?? document.contents?.range?.[0] ?? 0);
    },
  };
}

const hints: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: "indent with spaces",
  MULTIPLE_DOCS: "keep one document in a file; remove what follows the second ---",
  MISSING_CHAR: "check for an unclosed quote or bracket, or a missing colon",
  BLOCK_AS_IMPLICIT_KEY: "check for an unclosed quote or a missing line break",
  BAD_ALIAS: "quote a value that begins with *",
};

/** A parser's message as part of our sentence: lower case, one line, no full stop. */
function sentence(message: string): string {
  const line = message.split("\n")[0] ?? message;
  return line.charAt(0).toLowerCase() + line.slice(1).replace(/[.:]$/, "");
}

function wordAt(text: string, offset: number): string {
  const word = /^("[^"\n]*"|'[^'\n]*'|[^\s:,{}[\]]+)/.exec(text.slice(offset, offset + 100))?.[0];
  return word ?? "here";
}

type Fail = (message: string, offset: number | undefined, hint?: string) => never;

function parseJson(text: string, fail: Fail): { readonly data: unknown } {
  try {
    return { data: text.trim() === "" ? null : JSON.parse(text.replace(/^\ufeff/, "")) };
  } catch {
    const bare = text.replace(/^\ufeff/, "");
    const offset = jsonErrorIndex(bare) + (text.length - bare.length);
    const what =
      offset >= text.trimEnd().length ? "the end of the file" : JSON.stringify(text[offset]);
    return fail(`not valid JSON: ${what} is unexpected here`, offset);
  }
}

function parseYaml(text: string): Document.Parsed | null {
  try {
    return parseDocument(text, {
      version: "1.2",
      schema: "core",
      resolveKnownTags: false,
      uniqueKeys: true,
      prettyErrors: false,
      logLevel: "error",
    });
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/**
 * Offset where nesting may pass maxDepth, or -1. Counts open brackets, indentation and indicators of one line, which
 * is never less than the true depth of a block; done before parsing because a stack overflow there can end the process.
 */
function tooDeepAt(text: string): number {
  let brackets = 0;
  let line = 0;
  let leading = true;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "\n") {
      line = 0;
      leading = true;
      continue;
    }
    if (c === "[" || c === "{") brackets++;
    else if ((c === "]" || c === "}") && brackets > 0) brackets--;
    if (leading && c === " ") line++;
    else {
      leading = false;
      if (
        brackets === 0 &&
        (c === ":" || c === "-" || c === "?") &&
        /^\s?$/.test(text[i + 1] ?? "")
      )
        line++;
    }
    if (brackets + line > maxDepth) return i;
  }
  return -1;
}

/** Plain data of a document; aliases are followed as long as they neither contain themselves nor add too much. */
function toData(document: Document.Parsed, fail: Fail): unknown {
  const above = new Set<Node>();
  let aliased = 0;
  const build = (node: unknown, inAlias: boolean): unknown => {
    if (!isNode(node)) return null;
    const offset = node.range?.[0];
    if (above.size > 4 * maxDepth) fail("nested too deeply through aliases", offset);
    if (inAlias && ++aliased > maxAliased) fail("aliases expand to too many values", offset);
    if (isAlias(node)) {
      const target = node.resolve(document);
      if (target === undefined)
        return fail(
          `no anchor is named ${node.source}`,
          offset,
          "quote a value that begins with *",
        );
      if (above.has(target)) fail(`the alias *${node.source} contains itself`, offset);
      return build(target, true);
    }
    if (isScalar(node)) return node.value === undefined ? null : node.value;
    above.add(node);
    let out: unknown = null;
    if (isSeq(node)) out = node.items.map((item) => build(item, inAlias));
    else if (isMap(node)) {
      const mapping = {};
      for (const { key, value } of node.items) {
        if (!isScalar(key))
          fail("a key must be a plain name", isNode(key) ? key.range?.[0] : offset);
        setOwn(mapping, keyName(key), build(value, inAlias));
      }
      out = mapping;
    }
    above.delete(node);
    return out;
  };
  return build(document.contents, false);
}

function keyName(key: unknown): string {
  return isScalar(key) ? String(key.value) : "";
}

/** Follows a path through the nodes as far as it goes. */
function walk(
  document: Document.Parsed,
  path: Path,
): { depth: number; key: Node | undefined; value: Node | undefined } {
  let value: Node | undefined = document.contents ?? undefined;
  let key: Node | undefined;
  let depth = 0;
  for (const name of path) {
    const at: Node | undefined = isAlias(value) ? value.resolve(document) : value;
    if (isMap(at)) {
      const pair = at.items.find((p: Pair) => keyName(p.key) === String(name)) as Pair | undefined;
      if (pair === undefined) break;
      key = isNode(pair.key) ? pair.key : undefined;
      value = isNode(pair.value) ? pair.value : undefined;
    } else if (isSeq(at) && Number(name) < at.items.length) {
      const item: unknown = at.items[Number(name)];
      key = undefined;
      value = isNode(item) ? item : undefined;
    } else break;
    depth++;
  }
  return { depth, key, value };
}
