/** Data sets by path: the form is named, or told from what is there. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { openFolder } from "./folder.ts";
import { openJsonl } from "./jsonl.ts";
import { openMds } from "./mds.ts";
import { openParquet } from "./parquet.ts";
import type { Source, SourceKind } from "./source.ts";
import { openWebDataset, tarEndings } from "./tar.ts";
import { openTfRecords } from "./tfrecord.ts";
import { openTokens, packText } from "./tokens.ts";
import { unreadable } from "./unreadable.ts";

/** Plain data, so that other processes open the same data set. */
export interface OpenOptions {
  readonly path: string;
  /** Default: told from the path. */
  readonly kind?: SourceKind;
  /** Column, feature or extension of the payload, where the form has several. */
  readonly payload?: string;
  /** Column, feature or field of the label. */
  readonly label?: string;
  /** Tokens of a sample (tokens and text), default 1024. */
  readonly tokens?: number;
  /** Bytes of a stored token, default 2. */
  readonly tokenBytes?: 2 | 4;
}

/** Forms by the ending of the file, or of the first such file in a folder. */
const endings: readonly (readonly [string, SourceKind])[] = [
  ...tarEndings.map((ending) => [ending, "webdataset"] as const),
  [".tfrecord", "tfrecord"],
  [".tfrecords", "tfrecord"],
  [".parquet", "parquet"],
  [".jsonl", "jsonl"],
  [".ndjson", "jsonl"],
  [".bin", "tokens"],
  [".txt", "text"],
];

/** The form of what lies at the path: index.json means MDS, files of one ending that form, folders one per class. */
export function sourceKindOf(path: string): SourceKind {
  try {
    return told(path);
  } catch (error) {
    throw unreadable(error, path);
  }
}

function told(path: string): SourceKind {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new MillraceError("FILE_UNREADABLE", `${path}: there is no such file or folder`, {
      at: { file: path },
      hint: "name the folder or file of the data set",
    });
  const names = stat.isDirectory() ? readdirSync(path) : [path];
  if (
    stat.isDirectory() &&
    names.includes("index.json") &&
    names.some((name) => /\.mds(\.(zstd|gz|br|snappy|bz2))?$/.test(name))
  )
    return "mds";
  for (const [ending, kind] of endings)
    if (names.some((name) => name.endsWith(ending))) return kind;
  if (stat.isDirectory() && names.some((name) => isFolder(join(path, name)))) return "folder";
  throw new MillraceError("DATA_INVALID", `${path}: no form of data set is recognised here`, {
    at: { file: path },
    hint: "name it with --kind; there are folder (one per class), webdataset, jsonl, tokens, text, parquet, tfrecord and mds",
  });
}

const isFolder = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** Opens a data set. Throws MillraceError FILE_UNREADABLE or DATA_INVALID. */
export async function openSource(options: OpenOptions): Promise<Source> {
  try {
    return await openAs(options.kind ?? told(options.path), options);
  } catch (error) {
    throw unreadable(error, options.path);
  }
}

async function openAs(kind: SourceKind, options: OpenOptions): Promise<Source> {
  const { path, payload, label, tokens = 1024, tokenBytes = 2 } = options;
  const named = {
    ...(payload !== undefined && { payload }),
    ...(label !== undefined && { label }),
  };
  switch (kind) {
    case "folder":
      return openFolder(path);
    case "webdataset":
      return openWebDataset(path, payload);
    case "jsonl":
      return openJsonl(path, label);
    case "tokens":
      return openTokens(path, { length: tokens, width: tokenBytes });
    case "text":
      return openTokens(await packText(path, undefined, { width: tokenBytes }), {
        length: tokens,
        width: tokenBytes,
      });
    case "parquet":
      return openParquet(path, named);
    case "tfrecord":
      return openTfRecords(path, named);
    case "mds":
      return openMds(path, named);
  }
}
