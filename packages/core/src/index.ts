/**
 * The pure foundation of every package: errors, clocks, random streams, the event heap, statistics, units, CSV, hashes,
 * traces and the executor interface. Runs in browsers; nothing here reads a clock, file or environment by itself.
 */
export * from "./chrome-trace.ts";
export * from "./clock.ts";
export * from "./csv.ts";
export * from "./errors.ts";
export * from "./event-heap.ts";
export * from "./executor.ts";
export * from "./format.ts";
export * from "./hash.ts";
export * from "./intervals.ts";
export * from "./json-text.ts";
export * from "./least-squares.ts";
export * from "./place.ts";
export * from "./quantile-sketch.ts";
export * from "./reproduction.ts";
export * from "./rng.ts";
export * from "./statistics.ts";
export * from "./suggest.ts";
export * from "./units.ts";
export * from "./webassembly.ts";
