/** What stands in the repository's folder of JSON schemas. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The committed schema of that name. */
export function committedSchema(name: string): unknown {
  const file = join(fileURLToPath(import.meta.url), `../../../../../schemas/${name}.schema.json`);
  return JSON.parse(readFileSync(file, "utf8"));
}
