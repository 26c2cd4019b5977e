/** Writes the JSON schemas of the configuration files under schemas/; a test fails when they are out of date. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { jobsJsonSchema } from "@millrace/cluster/run";
import { jobProfileJsonSchema } from "@millrace/data";
import { serveConfigSchema } from "@millrace/engine/config";
import { configSchemas } from "@millrace/sim/config";

const folder = join(fileURLToPath(import.meta.url), "../../schemas");
mkdirSync(folder, { recursive: true });
for (const [name, schema] of Object.entries({
  ...configSchemas(),
  "serve.schema.json": serveConfigSchema(),
  "jobs.schema.json": jobsJsonSchema(),
  "job-profile.schema.json": jobProfileJsonSchema(),
})) {
  writeFileSync(join(folder, name), `${JSON.stringify(schema, null, 2)}\n`);
  console.error(`schemas: wrote schemas/${name}`);
}
