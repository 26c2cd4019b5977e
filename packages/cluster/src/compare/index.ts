/** Comparisons over policies, allocators, loads and seeds, spread over cores. For Node. */
export * from "./run-cell.ts";

/** The module for a pool's workers: `new ForkPool({ module: cellWorker })`. */
export const cellWorker = new URL(
  import.meta.url.endsWith(".ts") ? "./run-cell.ts" : "./run-cell.js",
  import.meta.url,
);
