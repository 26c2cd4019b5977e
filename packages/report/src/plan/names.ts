/** Configurations in words. */
import { writeNumber, writeRound } from "../format.ts";
import type { JudgedConfig, PlannedConfig } from "./input.ts";

/** "A100 · TP4 · PP2": what has to be rented. */
export function hardwareName(config: PlannedConfig): string {
  const pipeline = config.pipelineParallel > 1 ? ` · PP${config.pipelineParallel}` : "";
  return `${config.device} · TP${config.tensorParallel}${pipeline}`;
}

/** "sarathi-serve 512 · batch 128 · fp8 weights": how it is set up. */
export function setupName(config: PlannedConfig): string {
  const parts = [`${config.scheduler} ${config.chunkSize}`, `batch ${config.batchSizeCap}`];
  if (config.kv !== "paged") parts.push(config.kv);
  if (config.weightBytes !== 2) parts.push(`${bits(config.weightBytes)} weights`);
  if (config.kvBytes !== 2) parts.push(`${bits(config.kvBytes)} KV`);
  return parts.join(" · ");
}

/** Both on one line. */
export function configName(config: PlannedConfig): string {
  return `${hardwareName(config)} · ${setupName(config)}`;
}

/** Whether two configurations are the same point of the space. */
export function sameConfig(a: PlannedConfig, b: PlannedConfig): boolean {
  return (
    a.device === b.device &&
    a.tensorParallel === b.tensorParallel &&
    a.pipelineParallel === b.pipelineParallel &&
    a.scheduler === b.scheduler &&
    a.chunkSize === b.chunkSize &&
    a.batchSizeCap === b.batchSizeCap &&
    a.kv === b.kv &&
    a.weightBytes === b.weightBytes &&
    a.kvBytes === b.kvBytes
  );
}

/** "6 replicas of 4 GPUs". */
export function fleetName(judged: JudgedConfig): string {
  const each = judged.config.tensorParallel * judged.config.pipelineParallel;
  return `${plural(judged.replicasNeeded, "replica")} of ${plural(each, "GPU")}`;
}

/** "off by 10% either way", "4 times as long, or as short": as a percentage a large error would say that times may be negative. */
export function stepTimesOff(errorPercent: number): string {
  return errorPercent > 90
    ? `${writeRound(1 + errorPercent / 100)} times as long, or as short`
    : `off by ${writeNumber(errorPercent / 100, "percent")} either way`;
}

/** "1 replica", "6 replicas". */
export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function bits(bytes: number): string {
  return `${bytes * 8}-bit`;
}
