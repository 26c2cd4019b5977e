export * from "./contracts.ts";
export * from "./sampling/index.ts";
export * from "./text/index.ts";
