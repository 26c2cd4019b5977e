export type { CostModelInfo, OperatorTime, PredictedCost } from "./predictor/cost-model.ts";
export { VidurTablesCost } from "./predictor/vidur-tables/cost.ts";
export {
  parseVidurTables,
  type TableFiles,
  type VidurTables,
} from "./predictor/vidur-tables/tables.ts";
export type * from "./types.ts";
export * from "./fleet/create-fleet.ts";
export * from "./fleet/run-fleet.ts";
export * from "./fleet/virtual-backend.ts";
