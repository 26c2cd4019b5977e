/** The twin of one engine: prediction of a real server's tokens, capacity by prediction, comparison with what was measured. */
export * from "./attribution.ts";
export * from "./capacity.ts";
export * from "./chance.ts";
export * from "./client-view.ts";
export * from "./compare.ts";
export * from "./figures.ts";
export * from "./run-twin.ts";
