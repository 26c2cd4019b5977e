/** The most that a run needed at a time: what shows that a larger cap or another amount of memory would change nothing. */
import type { RequestTable } from "@millrace/serving";
import type { KvGeometry } from "../fleet/create-fleet.ts";
import type { RequestResults, SimulationConfig } from "../types.ts";

export interface Demand {
  /** Sequences admitted at once, at most. */
  readonly sequences: number;
  /** Blocks that they need when each holds all of its tokens. */
  readonly blocks: number;
}

/** Upper bounds, from when requests were first scheduled and completed. O(n log n). */
export function peakDemand(
  requests: RequestTable,
  { scheduledAt, completedAt }: Pick<RequestResults, "scheduledAt" | "completedAt">,
  blockTokens: number,
): Demand {
  const admitted: number[] = [];
  for (let i = 0; i < requests.count; i++)
    if (!Number.isNaN(scheduledAt[i] as number)) admitted.push(i);
  const endOf = (i: number): number => {
    const at = completedAt[i] as number;
    return Number.isNaN(at) ? Number.POSITIVE_INFINITY : at;
  };
  const blocksOf = (i: number): number =>
    Math.ceil(
      ((requests.promptTokens[i] as number) + (requests.outputTokens[i] as number) + 1) /
        blockTokens,
    );
  const starts = [...admitted].sort(
    (a, b) => (scheduledAt[a] as number) - (scheduledAt[b] as number),
  );
  const ends = [...admitted].sort((a, b) => endOf(a) - endOf(b));
  let ended = 0;
  let held = 0;
  let sequences = 0;
  let blocks = 0;
  for (let begun = 0; begun < starts.length; begun++) {
    const i = starts[begun] as number;
    held += blocksOf(i);
    // One that ends at the instant another begins may still have been counted by the scheduler.
    while (endOf(ends[ended] as number) < (scheduledAt[i] as number))
      held -= blocksOf(ends[ended++] as number);
    sequences = Math.max(sequences, begun + 1 - ended);
    blocks = Math.max(blocks, held);
  }
  return { sequences, blocks };
}

/** Whether neither the cap on sequences nor the KV memory ever had a say in a run with this demand. */
export function unconstrained(
  { scheduler, kv, pipelineParallel }: SimulationConfig,
  geometry: KvGeometry,
  demand: Demand,
  usage: { readonly maxRows: number; readonly restarts: number },
): boolean {
  const perStage = Math.max(1, Math.floor(scheduler.batchSizeCap / pipelineParallel));
  if (usage.restarts > 0 || demand.sequences >= scheduler.batchSizeCap) return false;
  if (usage.maxRows >= perStage) return false;
  switch (kv.type) {
    case "paged":
      return demand.blocks < Math.floor(geometry.blocks * (1 - scheduler.watermark)) - 1;
    case "static":
      return demand.sequences < geometry.blocks;
    case "vattention":
      // Pages are also held ahead of and after their use.
      return false;
  }
}
