/** The JSON schema of serve.yaml, for editors; committed under schemas/ and checked for drift. */
import { z } from "zod";
import { serveSchema } from "./serve-schema.ts";

/** JSON schema (draft 7, what YAML editors understand). */
export function serveConfigSchema(): Readonly<Record<string, unknown>> {
  const { $schema, ...rest } = z.toJSONSchema(serveSchema, { io: "input", target: "draft-7" });
  return { $schema, title: "Millrace serve.yaml", ...rest };
}
