/** What the KV cache of one replica holds: as the file says, else what the memory planner finds room for. */
import { MillraceError } from "@millrace/core";
import type { KvGeometry } from "../fleet/create-fleet.ts";
import { type MemoryPlan, memoryOptionsOf, planMemory } from "../memory/plan.ts";
import type { SimulationConfig } from "../types.ts";

/** The KV cache of a deployment, and the memory plan behind it. Throws DEPLOYMENT_IMPOSSIBLE when it does not fit and no size was given. */
export function kvGeometryOf(config: SimulationConfig): {
  readonly geometry: KvGeometry;
  readonly memory: MemoryPlan;
} {
  const memory = planMemory(config.model, config.device, memoryOptionsOf(config));
  const given = config.kv.numBlocks;
  if (given === null && !memory.fits)
    throw new MillraceError(
      "DEPLOYMENT_IMPOSSIBLE",
      `${config.model.name} does not fit ${config.tensorParallel * config.pipelineParallel} x ${config.device.name}: ${memory.shortfall?.reason ?? "no room for the KV cache"}`,
      {
        hint: "raise tensorParallel or pipelineParallel, take a device with more memory, or lower precision.weights or precision.kv",
      },
    );
  return {
    geometry: { blocks: given ?? memory.kvBlocks, blockTokens: memory.blockTokens },
    memory,
  };
}
