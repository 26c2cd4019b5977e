export { type GridBatch, type GridLimits, profileGrid } from "./grid.ts";
export { type MeasureOptions, measureGrid, pointOf } from "./measure.ts";
