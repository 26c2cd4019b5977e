/** The JSON schemas of the configuration files, for editors; committed under schemas/ and checked for drift. */
import { z } from "zod";
import { planSchema } from "./plan.ts";
import { runSchema } from "./run.ts";

/** A JSON schema (draft 7, what YAML editors understand) by file name. */
export function configSchemas(): Readonly<Record<string, unknown>> {
  const of = (schema: z.ZodType, title: string) => {
    const { $schema, ...rest } = z.toJSONSchema(schema, {
      io: "input",
      target: "draft-7",
    });
    return { $schema, title, ...rest };
  };
  return {
    "run.schema.json": of(runSchema, "Millrace run.yaml"),
    "plan.schema.json": of(planSchema, "Millrace plan.yaml"),
  };
}
