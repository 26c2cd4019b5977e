export * from "./contracts.ts";
export { readModelCard } from "./executor/model-card.ts";
export * from "./grammar/index.ts";
export * from "./sampling/index.ts";
export * from "./text/index.ts";
