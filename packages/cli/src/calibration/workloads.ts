/** The loads of a calibration: one to learn the serving loop from, and the user's own to predict and measure. */
import {
  generateWorkload,
  type LengthSpec,
  ProfileCost,
  type RequestTable,
  type StepProfile,
} from "@millrace/serving";
import { atRate, saturationQps, type TwinSettings, type TwinSlo } from "@millrace/sim/twin";

/** Mixes of the loads that we send for ourselves: long prompts with few sequences at once, and many short ones at once. */
const MIXES = {
  long: { prompt: { min: 4, max: 320 }, output: { min: 2, max: 48 } },
  short: { prompt: { min: 2, max: 64 }, output: { min: 2, max: 64 } },
} as const;

/** A part of such a load: share of the rate at saturation, and of the seconds. */
interface Part {
  readonly mix: keyof typeof MIXES;
  readonly load: number;
  readonly share: number;
}

/**
 * Alone, in company, crowded, and more than the engine can carry, so that batches become as large as they can. Light and
 * heavy load take turns: what the machine does within the minute falls on all alike.
 */
const PROBE: readonly Part[] = [
  { mix: "long", load: 0.25, share: 0.12 },
  { mix: "long", load: 0.9, share: 0.12 },
  { mix: "short", load: 0.6, share: 0.13 },
  { mix: "short", load: 1.15, share: 0.13 },
  { mix: "long", load: 0.25, share: 0.12 },
  { mix: "short", load: 0.95, share: 0.13 },
  { mix: "long", load: 0.6, share: 0.12 },
  { mix: "short", load: 1.15, share: 0.13 },
];
/** What a server is warmed with: as busy as can be without a queue that grows, for it gets faster by what it has computed. */
const WARM_UP: readonly Part[] = [
  { mix: "long", load: 0.9, share: 0.5 },
  { mix: "short", load: 0.95, share: 0.5 },
];
/**
 * Shares of the seconds of the load that the speed of the machine is taken from. It is as heavy as the load it is taken for: steps
 * of an engine that mostly waits take some percent longer than those of one that never does.
 */
const ANCHOR = [
  { mix: "long", share: 0.4 },
  { mix: "short", share: 0.6 },
] as const;
/** Lightest and heaviest load of it: with less there would be too few steps, with more a queue that outlives it. */
const ANCHOR_LOAD = { least: 0.2, most: 0.95 };
/** Requests of a part after which nothing more is learnt of the machine's speed. */
const ANCHOR_REQUESTS = 200;
/** What a serving loop adds to a tight one, roughly: the load is laid out before it is known. */
const LOOP_GUESS = 1.25;

/** Requests of `seconds` seconds that visit light and heavy load. Its seed has nothing to do with any measured load. */
export function probeWorkload(
  profile: StepProfile,
  settings: TwinSettings,
  seconds: number,
): RequestTable {
  return ownWorkload(profile, settings, PROBE, seconds, {
    seed: "calibrate/probe",
    most: Number.POSITIVE_INFINITY,
  });
}

/** Requests like those, sent before and after a measured load and as heavy: they tell how fast the machine is then. */
export function anchorWorkload(
  profile: StepProfile,
  settings: TwinSettings,
  seconds: number,
  load: number,
): RequestTable {
  const parts = ANCHOR.map((part) => ({ ...part, load }));
  return ownWorkload(profile, settings, parts, seconds, {
    seed: "calibrate/anchor",
    most: ANCHOR_REQUESTS,
  });
}

/** By how much of the rate at saturation requests come, within what an anchor can be. */
export function anchorLoad(
  profile: StepProfile,
  settings: TwinSettings,
  requests: RequestTable,
): number {
  const cost = { cost: new ProfileCost(profile), transport: null };
  const asServed = withOverhead(requests, profile.transport?.addedTokens ?? 0);
  const share = requests.count / lastArrival(requests) / saturationQps(settings, asServed, cost);
  return Math.min(ANCHOR_LOAD.most, Math.max(ANCHOR_LOAD.least, share));
}

/** Seconds; all at once is as heavy as can be. */
function lastArrival({ arrivedAt }: RequestTable): number {
  return arrivedAt.reduce((last, at) => Math.max(last, at), 0);
}

/** The same mixes without a bound on their number, for the time in which a new server is still getting faster. */
export function warmUpWorkload(
  profile: StepProfile,
  settings: TwinSettings,
  seconds: number,
): RequestTable {
  return ownWorkload(profile, settings, WARM_UP, seconds, {
    seed: "calibrate/warm-up",
    most: Number.POSITIVE_INFINITY,
  });
}

function ownWorkload(
  profile: StepProfile,
  settings: TwinSettings,
  parts: readonly Part[],
  seconds: number,
  { seed, most }: { readonly seed: string; readonly most: number },
): RequestTable {
  const cost = new ProfileCost(profile);
  const guess = profile.loop === null ? LOOP_GUESS : 1;
  const longest = settings.maxRequestTokens >> 1;
  let from = 0;
  const made = parts.map(({ mix, load, share }, i) => {
    const { prompt, output } = MIXES[mix];
    const lengths: LengthSpec = {
      type: "range",
      prompt: { ...prompt, max: Math.min(prompt.max, longest) },
      output: { ...output, max: Math.min(output.max, longest) },
    };
    const sample = generateWorkload(
      { arrivals: { type: "poisson", qps: 1 }, lengths, requests: 300 },
      "calibrate/saturation",
    );
    const qps = (load * saturationQps(settings, sample, { cost, transport: null })) / guess;
    const requests = Math.max(1, Math.min(most, Math.round(share * seconds * qps)));
    const part = generateWorkload(
      { arrivals: { type: "poisson", qps }, lengths, requests },
      `${seed}/${i}`,
    );
    const shifted = { ...part, arrivedAt: part.arrivedAt.map((at) => at + from) };
    from += requests / qps;
    return shifted;
  });
  return joined(made);
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
      outputs: decodes + 1,
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

/** One table of several that follow each other; a part may begin while the one before still arrives. */
function joined(parts: readonly RequestTable[]): RequestTable {
  const rows = parts
    .flatMap((part) =>
      Array.from(part.arrivedAt, (arrivedAt, i) => ({
        arrivedAt,
        promptTokens: part.promptTokens[i] as number,
        outputTokens: part.outputTokens[i] as number,
      })),
    )
    .sort((a, b) => a.arrivedAt - b.arrivedAt);
  return {
    count: rows.length,
    arrivedAt: Float64Array.from(rows, (row) => row.arrivedAt),
    promptTokens: Int32Array.from(rows, (row) => row.promptTokens),
    outputTokens: Int32Array.from(rows, (row) => row.outputTokens),
    classIndex: new Uint8Array(rows.length),
    classes: [{ name: "default", priority: 0 }],
    ids: null,
  };
}
