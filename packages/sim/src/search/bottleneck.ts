/**
 * What holds a candidate back: the term or resource that ends its capacity, with figures, and what to change. Vidur's
 * rules (simulator.md 1.8) read batch percentiles and take the first that fits; these start from what ended the search,
 * the failed term or saturation, and look at the resources while the replica works off a backlog.
 */
import { formatNumber, formatSeconds } from "@millrace/core";
import type { Candidate, SloTerm } from "../types.ts";
import type { CapacityOutcome } from "./job.ts";
import { chunkingSchedulers } from "./spec.ts";

/** KV memory counts as full from this share in use, and preemptions as many from this share of the requests. */
const KV_FULL = 0.9;
const MANY_RESTARTS = 0.01;
/** Batches count as full from this share of the cap, or of the token budget. */
const BATCH_FULL = 0.9;
/** Stages count as idling from this share of their time. */
const BUBBLES = 0.2;
/** Matrix units count as busy from this model FLOPs utilisation: what a fitted roofline reaches is about 0.7. */
const COMPUTE_BOUND = 0.4;

/** One or two sentences: limit, figures, suggestion. */
export function explainBottleneck(
  config: Candidate,
  slo: readonly SloTerm[],
  outcome: CapacityOutcome,
): string {
  if (outcome.limit.startsWith("TBT")) return explainGaps(config, slo, outcome);
  const resource = saturatedResource(config, outcome);
  if (outcome.limit === "") return `saturated: ${resource}`;
  return `${outcome.limit} at its limit: ${resource}`;
}

function explainGaps(config: Candidate, slo: readonly SloTerm[], outcome: CapacityOutcome): string {
  const { full, decode } = outcome.steps;
  const limit = slo.find((t) => t.metric === "tbt")?.limit ?? Number.POSITIVE_INFINITY;
  const rows = Math.max(1, Math.round(outcome.atCapacity.usage.meanRows));
  const head = `${outcome.limit} at its limit:`;
  if (decode > limit)
    return `${head} a step of ${rows} decodes alone takes ${formatSeconds(decode)}; lower the batch size cap or raise tensorParallel`;
  const chunks = chunkingSchedulers.includes(config.scheduler);
  if (full > limit && chunks)
    return `${head} a chunk of ${config.chunkSize} tokens stretches a step from ${formatSeconds(decode)} to ${formatSeconds(full)}; take a smaller chunk or raise tensorParallel`;
  if (!chunks)
    return `${head} whole prompts delay decodes (${formatSeconds(full)} for a long one); take a scheduler with chunks, sarathi-serve or vllm-v1`;
  return `${head} queues between steps and preemptions lengthen gaps although a full step takes ${formatSeconds(full)}; ${saturatedResource(config, outcome)}`;
}

function saturatedResource(config: Candidate, outcome: CapacityOutcome): string {
  const usage = outcome.saturated ?? outcome.atCapacity.usage;
  const percent = (share: number): string => `${formatNumber(100 * share)} %`;
  const perStage = Math.floor(config.batchSizeCap / config.pipelineParallel);
  const rows = `${formatNumber(usage.meanRows)} rows a step`;
  if (usage.restarts > MANY_RESTARTS * usage.requests || usage.kvUsed > KV_FULL)
    return `KV memory is full (${percent(usage.kvUsed)} in use, ${usage.restarts} preemptions); raise tensorParallel or pipelineParallel, store KV in 8 bits, or take a device with more memory`;
  if (usage.bubbles > BUBBLES && config.pipelineParallel > 1)
    return `pipeline stages idle ${percent(usage.bubbles)} of the time waiting for each other; take less pipelineParallel, or a smaller chunk so that steps are even`;
  if (usage.maxRows >= BATCH_FULL * perStage && usage.meanRows > 0.7 * perStage)
    return `the batch size cap of ${config.batchSizeCap} is reached (${rows}); raise it`;
  if (usage.mfu > COMPUTE_BOUND)
    return `compute: ${percent(usage.mfu)} of the peak FLOP/s are used (${rows}, ${formatNumber(usage.meanTokens)} tokens); faster devices or fewer bits per weight help`;
  if (
    chunkingSchedulers.includes(config.scheduler) &&
    usage.meanTokens > BATCH_FULL * config.chunkSize
  )
    return `the token budget of ${config.chunkSize} is used up (${formatNumber(usage.meanTokens)} tokens a step at ${percent(usage.mfu)} of the peak FLOP/s); a larger chunk uses the device better if TBT allows`;
  const { full, decode } = outcome.steps;
  if (decode > 0.6 * full)
    return `memory bandwidth: decoding ${rows} takes ${formatSeconds(decode)} of the ${formatSeconds(full)} of a full step; raise tensorParallel, or store weights or KV in fewer bits`;
  return `prefill: a full step takes ${formatSeconds(full)} at ${percent(usage.mfu)} of the peak FLOP/s; raise tensorParallel or the chunk size`;
}
