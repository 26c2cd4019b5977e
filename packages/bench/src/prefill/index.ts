/** The prefill curve: measuring, fitting, files. */
export { type CurveReach, REACH, withinReach } from "./curve.ts";
export * from "./file.ts";
export * from "./fit.ts";
export * from "./grid.ts";
export * from "./measure.ts";
export * from "./report.ts";
export * from "./samples.ts";
