/**
 * Reproductions of published figures: each paper is a function that runs its experiments on the simulator and returns
 * our figure beside theirs. Nothing here is typed in but what the papers printed, with its place.
 */
import {
  type MetricsRecorder,
  type ReplicaObserver,
  type RequestTable,
  type Seq,
  SeqTable,
  StepPlan,
} from "@millrace/serving";
import type { KvGeometry } from "../fleet/create-fleet.ts";
import type { VirtualBackend } from "../fleet/virtual-backend.ts";
import { memoryOptionsOf, planMemory } from "../memory/plan.ts";
import { RooflineCost } from "../predictor/roofline/cost.ts";
import { simulate } from "../simulate/simulate.ts";
import type { SimulationConfig, SimulationResult } from "../types.ts";

/** The KV cache that the memory planner leaves for a deployment. */
export function geometryOf(config: SimulationConfig): KvGeometry {
  const plan = planMemory(config.model, config.device, memoryOptionsOf(config));
  return { blocks: config.kv.numBlocks ?? plan.kvBlocks, blockTokens: plan.blockTokens };
}

/** Runs a deployment with the shipped predictor. */
export function runDeployment(
  config: SimulationConfig,
  requests: RequestTable,
  options: {
    readonly observe?: (replica: number, backend: VirtualBackend) => ReplicaObserver;
    readonly stop?: (now: number, recorder: MetricsRecorder) => boolean;
  } = {},
): SimulationResult {
  return simulate(config, requests, {
    costModel: new RooflineCost(config),
    geometry: geometryOf(config),
    ...options,
  });
}

/** A batch of one chunk of `prefill` tokens (0 = none) and `decodes` decodes of `context` tokens each, for specimen costs. */
export function specimenPlan(
  prefill: number,
  decodes: number,
  context: number,
): { readonly plan: StepPlan; readonly table: SeqTable } {
  const table = new SeqTable();
  const plan = new StepPlan();
  plan.reset(0);
  for (let i = 0; i < decodes; i++) {
    const seq = table.add(i, context - 1, 8, 8, 0, 0);
    plan.reserve(plan.rows + 1);
    const row = plan.rows++;
    plan.seq[row] = seq;
    plan.start[row] = context - 1;
    plan.count[row] = 1;
    plan.flags[row] = 2;
    plan.tokens++;
    plan.decodeRows++;
    plan.decodeContext += context;
  }
  if (prefill > 0) {
    const seq: Seq = table.add(decodes, prefill, 8, 8, 0, 0);
    plan.addPrefill(seq, 0, prefill, true);
  }
  return { plan, table };
}
