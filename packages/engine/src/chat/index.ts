export * from "./messages.ts";
export { namedTemplates } from "./named-templates.ts";
export * from "./reasoning.ts";
export * from "./template.ts";
export * from "./tool-calls.ts";
export * from "./tool-format.ts";
