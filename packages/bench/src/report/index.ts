export { type CompareReportInput, compareReport, figureText, runNames } from "./compare-report.ts";
export { stallRaster } from "./raster.ts";
export { type RunReportInput, runReport } from "./run-report.ts";
export { slackCurve } from "./slack.ts";
