export * from "./contracts.ts";
export * from "./grammar/index.ts";
export * from "./sampling/index.ts";
export * from "./text/index.ts";
