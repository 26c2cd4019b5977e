/** The cost model of a deployment; files of its predictor are read once per path and process. */
import { readPredictorSource } from "../node/predictor-files.ts";
import type { PredictedCost } from "../predictor/cost-model.ts";
import { createCostModel, type PredictorSource } from "../predictor/index.ts";
import type { SimulationConfig } from "../types.ts";

const sources = new Map<string, Promise<PredictorSource>>();

/** Throws FILE_UNREADABLE and PROFILE_INVALID. */
export async function makeCost(config: SimulationConfig): Promise<PredictedCost> {
  const { predictor, device } = config;
  const key = JSON.stringify([predictor, device.name]);
  let source = sources.get(key);
  if (source === undefined) {
    source = readPredictorSource(predictor, device.name);
    sources.set(key, source);
  }
  return createCostModel(config, await source);
}
