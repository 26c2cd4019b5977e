/** Linear and mixed-integer programs; see linear-program.ts. For Node. */
export * from "./cbc-solver.ts";
export * from "./highs-solver.ts";
export * from "./linear-program.ts";
export * from "./program-builder.ts";
