/** Experiments and analysis, which start processes: @millrace/data/experiments. */
export * from "../analyze/analysis.ts";
export { type CommandTimes, timeCommand } from "../analyze/command.ts";
export * from "../analyze/measure-rates.ts";
export { type ProfileOptions, profileOf } from "../analyze/profile.ts";
export {
  dataAnalysisReport,
  policyNames,
  stageNames,
  sufficientSentence,
  writeAmount,
  writeSetting,
} from "../analyze/report.ts";
export { dataBenchReport, variantNames } from "./bench-report.ts";
export * from "./bench-result.ts";
export * from "./bounds.ts";
export * from "./cache-experiment.ts";
export * from "./coordinated-experiment.ts";
export type { EpochReport, JobSpec } from "./job-protocol.ts";
export * from "./model-accuracy.ts";
export * from "./partitioned-experiment.ts";
export { reproduceCoordl } from "./reproduce.ts";
