/**
 * Configuration: YAML or JSON text to validated data, with errors that name file, line, column, path and value. Owns
 * parsing, --set overrides and JSON schemas; the zod schemas live beside what they configure. Runs in browsers.
 */
export * from "./fields.ts";
export * from "./parse-config.ts";
export { formatPath, type Path, parsePath } from "./path.ts";
export { expecting } from "./schema-walk.ts";
export type { Format } from "./source.ts";
