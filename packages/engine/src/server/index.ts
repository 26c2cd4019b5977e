export { namedTemplates } from "../chat/named-templates.ts";
export * from "./admission.ts";
export * from "./api-error.ts";
export * from "./metrics.ts";
export * from "./options.ts";
export { requestLogger } from "./request-logger.ts";
export * from "./server.ts";
