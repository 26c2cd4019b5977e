/** The cost model of a deployment, with the files it needs. */

import type { PredictedCost } from "../predictor/cost-model.ts";
import { RooflineCost } from "../predictor/roofline/cost.ts";
import type { SimulationConfig } from "../types.ts";

export async function makeCost(config: SimulationConfig): Promise<PredictedCost> {
  return new RooflineCost(config);
}
