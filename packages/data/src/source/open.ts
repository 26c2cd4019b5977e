/** Data sets by path: the form is named, or told from what is there. */
import { statSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { openFolder } from "./folder.ts";
import type { Source, SourceKind } from "./source.ts";

/** Plain data, so that other processes open the same data set. */
export interface OpenOptions {
  readonly path: string;
  /** Default: told from the path. */
  readonly kind?: SourceKind;
}

/** Opens a data set. Throws MillraceError FILE_UNREADABLE or DATA_INVALID. */
export async function openSource(options: OpenOptions): Promise<Source> {
  const { path } = options;
  if (statSync(path, { throwIfNoEntry: false }) === undefined)
    throw new MillraceError("FILE_UNREADABLE", `${path}: there is no such file or folder`, {
      at: { file: path },
    });
  const kind = options.kind ?? "folder";
  switch (kind) {
    case "folder":
      return openFolder(path);
    default:
      throw new MillraceError("DATA_INVALID", `${path}: the form ${kind} is not known`);
  }
}
