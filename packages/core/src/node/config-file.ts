/** Configuration from a file. */
import type { z } from "zod";
import { parseConfig } from "../config/index.ts";
import { readTextFile } from "./files.ts";

/** Reads, parses and validates a YAML or JSON file (by its ending). Throws like readTextFile and parseConfig. */
export function loadConfigFile<T>(
  path: string,
  options: { readonly schema: z.ZodType<T>; readonly set?: readonly string[] },
): T {
  return parseConfig(readTextFile(path), { file: path, ...options });
}
