import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { configSchemas } from "./json-schema.ts";

const folder = join(fileURLToPath(import.meta.url), "../../../../../schemas");

test.each(Object.keys(configSchemas()))("schemas/%s is up to date (npm run schemas)", (name) => {
  const committed = JSON.parse(readFileSync(join(folder, name), "utf8"));
  expect(committed).toEqual(JSON.parse(JSON.stringify(configSchemas()[name])));
});
