import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { serveConfigSchema } from "./json-schema.ts";

test("schemas/serve.schema.json is up to date (npm run schemas)", () => {
  const file = join(fileURLToPath(import.meta.url), "../../../../../schemas/serve.schema.json");
  const committed = JSON.parse(readFileSync(file, "utf8"));
  expect(committed).toEqual(JSON.parse(JSON.stringify(serveConfigSchema())));
});
