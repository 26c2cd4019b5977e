/** The files of a data set that is a file, or a folder of files of some kind. */
import { readdirSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { MillraceError } from "@millrace/core";
import type { SourceFile } from "./extent-source.ts";

/** The file itself, or the folder's files with one of these endings in the order of their names. */
export function shardFiles(path: string, endings: readonly string[]): SourceFile[] {
  const full = resolve(path);
  const stat = statSync(full, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new MillraceError("FILE_UNREADABLE", `${path}: there is no such file or folder`, {
      at: { file: path },
    });
  const names = stat.isDirectory()
    ? readdirSync(full).filter(
        (name) => endings.some((end) => name.endsWith(end)) && !name.startsWith("."),
      )
    : [""];
  return names.sort().map((name) => {
    const file = name === "" ? full : join(full, name);
    const { size, mtimeMs } = statSync(file);
    return { path: file, name: name === "" ? basename(full) : name, bytes: size, mtimeMs };
  });
}
