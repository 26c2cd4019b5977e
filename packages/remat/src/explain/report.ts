/** The reports of plans: what `memory explain`, `sweep` and `compare` write with --html. */
export { type CompareInput, compareReport, type SweepInput, sweepReport } from "./curve-report.ts";
export { type TimelineInput, timelineReport } from "./timeline.ts";
