export { serveConfigSchema } from "./json-schema.ts";
export { resolveServe, type ServeContext, type ServeOptions } from "./resolve-serve.ts";
export { type ServeInput, serveSchema } from "./serve-schema.ts";
