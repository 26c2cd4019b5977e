/**
 * Results of jobs on disk, one file per job, so that an interrupted plan goes on where it was. A file is complete or
 * absent; one that cannot be read is ignored and written again. A power failure may lose some, so they are not flushed.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { makeFolder } from "@millrace/core/node";
import type { SearchOutcome } from "./job.ts";
import { decodeJson, encodeJson } from "./json.ts";

export interface ResultStore {
  get(id: string): SearchOutcome | null;
  put(id: string, outcome: SearchOutcome): void;
}

/** A store in `folder`, which is made when it is missing. Throws OUTPUT_UNWRITABLE. */
export function fileStore(folder: string): ResultStore {
  writable(folder, () => makeFolder(folder));
  return {
    get: (id) => {
      try {
        const kept = decodeJson(readFileSync(join(folder, `${id}.json`), "utf8"));
        return isOutcome(kept) ? kept : null;
      } catch {
        return null;
      }
    },
    put: (id, outcome) => {
      const path = join(folder, `${id}.json`);
      const temporary = `${path}.${process.pid}.tmp`;
      writable(path, () => {
        writeFileSync(temporary, encodeJson(outcome));
        renameSync(temporary, path);
      });
    },
  };
}

function writable(path: string, write: () => void): void {
  try {
    write();
  } catch (cause) {
    throw new MillraceError("OUTPUT_UNWRITABLE", `${path} cannot be written`, { cause });
  }
}

/** Files are named by the hash of the job, so that only damage has to be told, not other versions. */
function isOutcome(value: unknown): value is SearchOutcome {
  if (typeof value !== "object" || value === null) return false;
  const { kind, work } = value as { kind?: unknown; work?: unknown };
  return (kind === "capacity" || kind === "family" || kind === "rate") && typeof work === "object";
}
