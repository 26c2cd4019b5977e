/**
 * Reports: charts as static SVG, documents as plain data, and one self-contained HTML file (or Markdown) of them.
 * Pure: no clock, file or network; equal input gives equal bytes. Loading it loads Plot and a DOM, so commands import it
 * when they write a report and not before.
 */
export * from "./charts/agreement.ts";
export type { AxisSpec } from "./charts/axes.ts";
export * from "./charts/bar.ts";
export * from "./charts/batch-composition.ts";
export { type ChartFrame, FULL_WIDTH, HALF_WIDTH } from "./charts/canvas.ts";
export * from "./charts/capacity.ts";
export * from "./charts/cdf.ts";
export * from "./charts/line.ts";
export * from "./charts/pareto.ts";
export * from "./charts/scatter.ts";
export * from "./charts/stage-gantt.ts";
export * from "./charts/timeline.ts";
export type { ReportContext } from "./context.ts";
export * from "./document.ts";
export { type NumberFormat, writeInterval, writeNumber } from "./format.ts";
export * from "./html/raster.ts";
export { renderReport } from "./html/render.ts";
export { renderMarkdown } from "./markdown.ts";
export * from "./plan/input.ts";
export * from "./plan/report.ts";
export * from "./reproduce/report.ts";
export * from "./simulation/input.ts";
export * from "./simulation/report.ts";
export { type SloCheckInput, sloTable } from "./slo.ts";
