export type * from "./contracts.ts";
export { RUN_SCHEMA } from "./contracts.ts";
export * from "./score/score-file.ts";
