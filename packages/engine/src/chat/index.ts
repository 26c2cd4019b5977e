export * from "./messages.ts";
export * from "./template.ts";
export * from "./tool-calls.ts";
