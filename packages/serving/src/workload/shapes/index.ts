import type { WorkloadShape } from "../shape.ts";
export const builtInShapes: Readonly<Record<string, WorkloadShape>> = {};
