/** The JSON schema of the file of `cluster run`, for editors; committed under schemas/ and checked for drift. */
import { z } from "zod";
import { jobsFileSchema } from "./jobs-file.ts";

/** Draft 7, what YAML editors understand. */
export function jobsJsonSchema(): unknown {
  const { $schema, ...rest } = z.toJSONSchema(jobsFileSchema, { io: "input", target: "draft-7" });
  return { $schema, title: "Millrace jobs.yaml", ...rest };
}
