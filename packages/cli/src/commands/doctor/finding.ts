/** What doctor looks for: one thing each, found or not. */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

export interface Finding {
  readonly name: string;
  /** broken: it is there, and cannot be used. */
  readonly state: "present" | "absent" | "broken";
  readonly detail: string;
  /** What its absence disables. */
  readonly disables: string;
}

/** The first of these programs on PATH. */
export function onPath(names: readonly string[]): string | null {
  for (const folder of (process.env.PATH ?? "").split(delimiter))
    for (const name of names) {
      const path = join(folder, process.platform === "win32" ? `${name}.exe` : name);
      if (folder !== "" && existsSync(path)) return path;
    }
  return null;
}

/** An error as one line, with what to do. */
export function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
