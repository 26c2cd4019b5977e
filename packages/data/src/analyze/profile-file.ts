/** Job profiles on disk. */
import { parseConfig, toJsonSchema } from "@millrace/core/config";
import { readTextFile, writeFileAtomic } from "@millrace/core/node";
import { type JobProfile, jobProfileSchema } from "../stall-model/job-profile.ts";

/** Checks a value from outside. Throws MillraceError CONFIG_INVALID with the place in the text, or CONFIG_SYNTAX. */
export function parseJobProfile(text: string, file: string): JobProfile {
  return parseConfig(text, { file, schema: jobProfileSchema, format: "json" });
}

/** Reads `millrace.job-profile/1`. Throws like parseJobProfile, and FILE_UNREADABLE. */
export function readJobProfile(path: string): JobProfile {
  return parseJobProfile(readTextFile(path), path);
}

/** Writes the profile completely or not at all, in a form that readJobProfile takes. */
export function writeJobProfile(path: string, profile: JobProfile): void {
  const text = `${JSON.stringify(profile, null, 2)}\n`;
  parseJobProfile(text, path);
  writeFileAtomic(path, text);
}

/** JSON schema of the file, for editors and for programs in other languages. */
export function jobProfileJsonSchema(): Readonly<Record<string, unknown>> {
  return toJsonSchema(
    jobProfileSchema,
    "https://millrace.dev/schemas/job-profile.schema.json",
    "millrace.job-profile/1: samples per second of a training job over CPUs and cache, per GPU",
  );
}
