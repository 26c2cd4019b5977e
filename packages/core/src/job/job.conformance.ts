/** The suites of the training loop's join, for the packages that implement it. */
export * from "./batch-source.conformance.ts";
export * from "./trainable.conformance.ts";
