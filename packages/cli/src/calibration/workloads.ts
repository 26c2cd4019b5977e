/** The loads of a calibration: one to learn the serving loop from, and the user's own to predict and measure. */
import {
  generateWorkload,
  type LengthSpec,
  ProfileCost,
  type RequestTable,
  type StepProfile,
} from "@millrace/serving";
import { atRate, saturationQps, type TwinSettings, type TwinSlo } from "@millrace/sim/twin";

/** Share of the rate at saturation in each part of the load to learn from: alone, in company, and crowded. */
const PROBE_LOADS = [0.25, 0.6, 0.9];
/** Prompts and answers of that load: from very short to a few chunks. */
const PROBE_PROMPT = { min: 4, max: 320 };
const PROBE_OUTPUT = { min: 2, max: 48 };
/** What a serving loop adds to a tight one, roughly: the load is laid out before it is known. */
const LOOP_GUESS = 1.25;

/** Requests of `seconds` seconds that visit light and heavy load. Its seed has nothing to do with any measured load. */
export function probeWorkload(
  profile: StepProfile,
  settings: TwinSettings,
  seconds: number,
): RequestTable {
  const longest = settings.maxRequestTokens;
  const lengths: LengthSpec = {
    type: "range",
    prompt: { ...PROBE_PROMPT, max: Math.min(PROBE_PROMPT.max, longest >> 1) },
    output: { ...PROBE_OUTPUT, max: Math.min(PROBE_OUTPUT.max, longest >> 1) },
  };
  const sample = generateWorkload(
    { arrivals: { type: "poisson", qps: 1 }, lengths, requests: 300 },
    "calibrate/saturation",
  );
  const cost = new ProfileCost(profile);
  const most = saturationQps(settings, sample, { cost, transport: null }) / LOOP_GUESS;
  const parts = PROBE_LOADS.map((share, i) =>
    generateWorkload(
      {
        arrivals: { type: "poisson", qps: share * most },
        lengths,
        duration: seconds / PROBE_LOADS.length,
      },
      `calibrate/probe/${i}`,
    ),
  );
  return joined(parts, seconds / PROBE_LOADS.length);
}

/** The user's workload at a rate. */
export function userWorkload(
  lengths: LengthSpec,
  count: number,
  qps: number,
  seed: number,
  longest: number,
): RequestTable {
  return atRate(
    generateWorkload(
      { arrivals: { type: "poisson", qps: 1 }, lengths, requests: count, maxTokens: longest },
      seed,
    ),
    qps,
  );
}

/** The same requests with what the server adds to each prompt. */
export function withOverhead(requests: RequestTable, tokens: number): RequestTable {
  return { ...requests, promptTokens: requests.promptTokens.map((prompt) => prompt + tokens) };
}

/** Decodes beside the chunk of the step that the TBT promise is made from, and their context. */
const BUSY = { chunk: 128, decodes: 8, context: 128 };
/** Times that step, and the prefill of a mean prompt, that may pass. */
const TBT_STEPS = 2;
const TTFT_PREFILLS = 10;

/** Promises that suit the machine, for those who name none: a busy step's length, and a short queue. */
export function usualSlo(profile: StepProfile, requests: RequestTable): readonly TwinSlo[] {
  const cost = new ProfileCost(profile);
  const chunk = (tokens: number, decodes: number): number => {
    const pairs = tokens * (tokens / 2);
    return cost.workSeconds({
      prefillTokens: tokens,
      prefillRows: 1,
      prefillPairs: pairs,
      tilePairs: tokens < profile.tileTokens ? 0 : pairs,
      shortPairs: tokens < profile.tileTokens ? pairs : 0,
      decodeRows: decodes,
      decodeContext: decodes * BUSY.context,
      mapped: 0,
      fresh: 1,
    });
  };
  const mean = Math.max(
    2,
    Math.round(requests.promptTokens.reduce((sum, n) => sum + n, 0) / requests.count),
  );
  return [
    { metric: "ttft", quantile: 0.9, limitSeconds: rounded(TTFT_PREFILLS * chunk(mean, 0)) },
    {
      metric: "tbt",
      quantile: 0.99,
      limitSeconds: rounded(TBT_STEPS * chunk(BUSY.chunk, BUSY.decodes)),
    },
  ];
}

/** Two significant digits. */
function rounded(seconds: number): number {
  return Number(seconds.toPrecision(2));
}

function joined(parts: readonly RequestTable[], seconds: number): RequestTable {
  const all = <K extends "promptTokens" | "outputTokens">(key: K): Int32Array =>
    Int32Array.from(parts.flatMap((part) => [...part[key]]));
  const arrivedAt = Float64Array.from(
    parts.flatMap((part, i) => Array.from(part.arrivedAt, (at) => at + i * seconds)),
  );
  return {
    count: arrivedAt.length,
    arrivedAt,
    promptTokens: all("promptTokens"),
    outputTokens: all("outputTokens"),
    classIndex: new Uint8Array(arrivedAt.length),
    classes: [{ name: "default", priority: 0 }],
    ids: null,
  };
}
