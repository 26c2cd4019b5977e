/** Reads the files that predictors are built from. The only part of the predictors that touches a disk. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import type { TableFiles } from "../predictor/vidur-tables/tables.ts";

/** All files `PREFIX.*` of a folder, by name. Throws FILE_UNREADABLE. */
export async function readTableFiles(folder: string, prefix: string): Promise<TableFiles> {
  const names = (await list(folder)).filter((name) => name.startsWith(`${prefix}.`));
  const entries = names.map(
    async (name) => [name, new Uint8Array(await readFile(join(folder, name)))] as const,
  );
  return new Map(await Promise.all(entries));
}

async function list(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    throw new MillraceError("FILE_UNREADABLE", `${folder} cannot be read as a folder`, {
      hint: "predictor.path names the folder of the predictor's tables.",
      cause,
    });
  }
}
