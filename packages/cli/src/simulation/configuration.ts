/**
 * From flags and files to a run: the configuration, its requests, its deployment. Reads files; decides nothing that the
 * schemas of @millrace/sim/config do not.
 */
import { existsSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { type ReadConfig, readConfig } from "@millrace/core/config";
import { readTextFile } from "@millrace/core/node";
import type { z } from "zod";

/** A configuration as read, with what is needed to speak about it. */
export interface Configuration<T> extends ReadConfig<T> {
  /** Path of the file; null when everything came from flags. */
  readonly file: string | null;
  readonly text: string;
}

/** Reads the file of --config, or nothing when there is none, and lays the overrides over it. */
export function readConfiguration<T>(
  file: string | undefined,
  schema: z.ZodType<T>,
  set: readonly string[],
  kind: "run" | "plan",
): Configuration<T> {
  if (file === undefined && set.length === 0) {
    const here = existsSync(`${kind}.yaml`);
    throw new MillraceError("USAGE", "no configuration is named", {
      hint: here
        ? `name it with --config ${kind}.yaml`
        : `millrace init ${kind} writes one to start from; then name it with --config ${kind}.yaml`,
    });
  }
  const text = file === undefined ? "" : readTextFile(file);
  return {
    ...readConfig(text, { file: file ?? "command line", schema, set }),
    file: file ?? null,
    text,
  };
}
