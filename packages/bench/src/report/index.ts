export { type CapacityDocumentInput, capacityDocument } from "./capacity-report.ts";
export { type CompareReportInput, compareReport, figureText, runNames } from "./compare-report.ts";
export { type PrefillDocumentInput, prefillDocument } from "./prefill-report.ts";
export { stallRaster } from "./raster.ts";
export { type RunReportInput, runReport } from "./run-report.ts";
export { slackCurve } from "./slack.ts";
