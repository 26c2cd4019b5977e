/**
 * Where to look first: the capacity by rules of thumb from single steps of the cost model. A wrong guess costs probes,
 * never correctness. Checked against found capacities in bench/search.bench.ts (probes per configuration).
 */
import type { RequestTable, StepCostModel } from "@millrace/serving";
import type { SimulationConfig } from "../types.ts";
import { chunkingSchedulers } from "./spec.ts";
import { stepTime } from "./steps.ts";

/** Share of the saturation rate tried when no term is near its limit on an idle replica. */
const SATURATED = 0.945;
/** How the share falls with the idle TTFT over its limit r: 1 - r^1.5, between a queue's 1 - r and none. */
const IDLE_POWER = 1.5;
/** Sequences that are taken to decode beside a chunk where gaps are the limit. */
const COMPANIONS = 8;

/** First rate to probe, at most the stable share of `saturationQps`. */
export function firstGuess(
  config: SimulationConfig,
  requests: RequestTable,
  cost: StepCostModel,
  saturationQps: number,
): number {
  let guess = SATURATED * saturationQps;
  const prompts = Float64Array.from(requests.promptTokens).sort();
  for (const { metric, quantile, limit } of config.slo) {
    if (metric === "ttft") {
      const prompt = prompts[Math.floor(quantile * (prompts.length - 1))] ?? 1;
      const idle = idleTtft(config, cost, prompt) / limit;
      guess = Math.min(guess, saturationQps * (1 - idle ** IDLE_POWER));
    }
    if (metric === "tbt") guess = Math.min(guess, gapRate(config, cost, prompts, quantile, limit));
  }
  return guess;
}

/** Tokens of a prompt computed in one step beside `rows` decodes. */
export function chunkTokens({ scheduler }: SimulationConfig, rows: number): number {
  if (chunkingSchedulers.includes(scheduler.type)) return Math.max(1, scheduler.chunkSize - rows);
  return scheduler.maxTokensInBatch;
}

/** Seconds to the first token of a prompt that has the replica to itself. */
function idleTtft(config: SimulationConfig, cost: StepCostModel, prompt: number): number {
  const most = chunkTokens(config, 0);
  let seconds = 0;
  for (let start = 0; start < prompt; start += most) {
    const chunk = Math.min(most, prompt - start);
    seconds += stepTime(cost, config.pipelineParallel, {
      decodeRows: 0,
      context: 0,
      chunk,
      start,
    }).through;
  }
  return seconds;
}

/**
 * Rate at which a share 1 - quantile of the gaps is longer than the limit because a slow chunk ran in them. A request
 * brings s slow chunks, each of which delays the lambda * W requests that decode (W = output * gap); so the share of
 * slow gaps is lambda * s * gap. Infinity when no chunk is slow.
 */
function gapRate(
  config: SimulationConfig,
  cost: StepCostModel,
  sortedPrompts: Float64Array,
  quantile: number,
  limit: number,
): number {
  const stages = config.pipelineParallel;
  const context = sortedPrompts[sortedPrompts.length >> 1] ?? 1;
  const beside = { decodeRows: COMPANIONS, context };
  const gap = stepTime(cost, stages, { ...beside, chunk: 0 }).through;
  if (gap > limit) return 0;
  const most = chunkTokens(config, COMPANIONS);
  const slow = (chunk: number): boolean =>
    stepTime(cost, stages, { ...beside, chunk }).through > limit;
  const longest = Math.min(most, sortedPrompts[sortedPrompts.length - 1] ?? 1);
  if (!slow(longest)) return Number.POSITIVE_INFINITY;
  let fast = 0;
  let tooLong = longest;
  while (tooLong - fast > 1) {
    const middle = (fast + tooLong) >> 1;
    if (slow(middle)) tooLong = middle;
    else fast = middle;
  }
  let chunks = 0;
  for (const prompt of sortedPrompts) {
    if (most >= tooLong) chunks += Math.floor(prompt / most);
    if (prompt % most >= tooLong) chunks++;
  }
  const perRequest = chunks / sortedPrompts.length;
  return (1 - quantile) / (perRequest * gap);
}
