import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { jobsJsonSchema } from "./json-schema.ts";

test("schemas/jobs.schema.json is up to date (npm run schemas)", () => {
  const file = join(fileURLToPath(import.meta.url), "../../../../../schemas/jobs.schema.json");
  const committed = JSON.parse(readFileSync(file, "utf8"));
  expect(committed).toEqual(JSON.parse(JSON.stringify(jobsJsonSchema())));
});
