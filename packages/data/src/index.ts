/**
 * Feeding training without data stalls: sources, fetching, the never-evict cache, preparation, batches. Layer 1; uses
 * the operating system through @millrace/system alone. Papers: CoorDL and DS-Analyzer (VLDB 2021).
 */
export * from "./batch/area.ts";
export * from "./batch/batch.ts";
export type * from "./cache/byte-cache.ts";
export type * from "./fetch/storage-reader.ts";
export type * from "./prep/transform.ts";
export * from "./sampler/sampler.ts";
export type * from "./source/source.ts";
export { type JpegSetOptions, makeJpegSet } from "./synthetic/jpeg-set.ts";
