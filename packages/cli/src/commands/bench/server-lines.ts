/** What the server told of itself during a run, for the end summary. */
import type { BenchReport } from "@millrace/bench";
import { formatNumber, formatPercent } from "@millrace/core";
import { formatWhole } from "../../ui/numbers.ts";

/** The fact; none where nothing was read. */
export function serverFacts({ server }: BenchReport): readonly (readonly [string, string])[] {
  if (server === null || server.samples === 0) return [];
  const { running, waiting, kvUse, preemptions, generatedTokens, dialect, samples } = server;
  const told = [
    running && `${formatNumber(running.mean)} running (most ${formatWhole(running.max)})`,
    waiting && `${formatNumber(waiting.mean)} waiting (most ${formatWhole(waiting.max)})`,
    kvUse && `KV ${formatPercent(kvUse.mean)} (most ${formatPercent(kvUse.max)})`,
    preemptions !== null && `${formatWhole(preemptions)} preemptions`,
    generatedTokens !== null && `${formatWhole(generatedTokens)} tokens generated`,
  ].filter((text) => typeof text === "string");
  return [["server", `${told.join(", ")}; ${formatWhole(samples)} readings of ${dialect} metrics`]];
}
