export { plannedKv } from "../executor/open-kv.ts";
export { stepGeometry } from "./geometry.ts";
export { type GridBatch, type GridLimits, profileGrid } from "./grid.ts";
export { type MeasureOptions, measureGrid, pointOf } from "./measure.ts";
export { openProfiled, type Profiled } from "./open-profiled.ts";
