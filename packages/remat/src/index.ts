/** Training in less memory (MONeT): graphs, planning problems, solvers, and the simulator that judges every plan. */
export * from "./graph/graph.ts";
export * from "./graph/library.ts";
export * from "./graph/lower.ts";
export * from "./graph/operation.ts";
export * from "./models/builder.ts";
export * from "./models/index.ts";
export * from "./models/options.ts";
export * from "./problem/layout.ts";
export * from "./problem/plan.ts";
export * from "./problem/problem.ts";
export * from "./problem/problem-file.ts";
export * from "./problem/simulate.ts";
