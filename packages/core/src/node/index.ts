/**
 * What the foundation does with Node: files, configuration files and the process pool. Owns no state between calls;
 * not for browsers.
 */
export * from "./config-file.ts";
export * from "./files.ts";
export * from "./fork-pool.ts";
export * from "./lease/index.ts";
export * from "./thread.ts";
export * from "./time-limit.ts";
