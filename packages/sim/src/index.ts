export { devices, findDevice } from "./catalogue/devices.ts";
export { modelFromHuggingFace } from "./catalogue/hugging-face.ts";
export { findModel, models } from "./catalogue/models.ts";
export { kvBytesPerToken, type ParameterCount, parameterCount } from "./catalogue/parameters.ts";
export * from "./fleet/create-fleet.ts";
export * from "./fleet/run-fleet.ts";
export * from "./fleet/virtual-backend.ts";
export {
  type MemoryOptions,
  type MemoryPlan,
  memoryOptionsOf,
  planMemory,
  type Shortfall,
} from "./memory/plan.ts";
export type { CostModelInfo, OperatorTime, PredictedCost } from "./predictor/cost-model.ts";
export {
  type CostConfig,
  createCostModel,
  neededSource,
  type PredictorSource,
} from "./predictor/index.ts";
export { calibrationFor, type DeviceCalibration } from "./predictor/roofline/calibration.ts";
export { RooflineCost, type RooflineDeployment } from "./predictor/roofline/cost.ts";
export { importVidurProfiles, type ProfileFiles } from "./predictor/vidur-profiles/import.ts";
export { VidurTablesCost } from "./predictor/vidur-tables/cost.ts";
export {
  parseVidurTables,
  type TableFiles,
  type VidurTables,
} from "./predictor/vidur-tables/tables.ts";
export { type SimulateOptions, simulate } from "./simulate/simulate.ts";
export { checkSlo, requestSamples, sloName } from "./simulate/slo.ts";
export type * from "./types.ts";
