/** Flags that say what is sent and when. */
import type { LoadArrivals, LoadSpec } from "@millrace/bench";
import { MillraceError, parseSeconds } from "@millrace/core";
import type { LengthSpec } from "@millrace/serving";

type Flags = Readonly<Record<string, unknown>>;

/** The load that the flags name. Throws USAGE. */
export function loadOf(flags: Flags): LoadSpec {
  const duration = timeOf(flags.duration, "--duration");
  const drain = timeOf(flags.drain, "--drain");
  const arrivals = arrivalsOf(flags, duration);
  const bounded =
    flags.trace !== undefined ||
    duration !== undefined ||
    flags.ramp !== undefined ||
    flags.sweep !== undefined;
  const requests = (flags.requests as number | undefined) ?? (bounded ? undefined : 100);
  const warmup = (flags.warmup as number | undefined) ?? 2;
  const whole = (name: string): number | undefined => flags[name] as number | undefined;
  const [maxTokens, maxConcurrency] = [whole("maxTokens"), whole("maxConcurrency")];
  return {
    arrivals,
    ...(ownLengths(flags) && { lengths: lengthsOf(flags) }),
    warmup: { requests: warmup },
    ...(requests !== undefined && { requests }),
    ...(duration !== undefined && { duration }),
    ...(drain !== undefined && { drainSeconds: drain }),
    ...(maxTokens !== undefined && { maxTokens }),
    ...(maxConcurrency !== undefined && { maxConcurrency }),
    ...(flags.refuseAtCap === true && { atCap: "refuse" as const }),
    ...(flags.sharedPrefix !== undefined && { prompts: prefixOf(String(flags.sharedPrefix)) }),
    ...(flags.prompts !== undefined && { prompts: { type: "file", path: String(flags.prompts) } }),
    ...(flags.turns !== undefined && {
      sessions: {
        turns: turnsOf(String(flags.turns)),
        thinkSeconds: timeOf(flags.think ?? "1s", "--think") ?? 1,
      },
    }),
    ...(flags.maxCost !== undefined && { cost: costOf(String(flags.maxCost)) }),
  };
}

/** Traces and prompt files bring lengths of their own, unless flags say otherwise. */
function ownLengths({ trace, prompts, promptTokens, outputTokens, shape }: Flags): boolean {
  if (trace === undefined && prompts === undefined) return true;
  return promptTokens !== undefined || outputTokens !== undefined || shape !== undefined;
}

function timeOf(value: unknown, flag: string): number | undefined {
  return value === undefined ? undefined : parseSeconds(String(value), flag);
}

function arrivalsOf(flags: Flags, duration: number | undefined): LoadArrivals {
  const kinds = ["rate", "concurrency", "ramp", "sweep", "trace"].filter(
    (name) => flags[name] !== undefined,
  );
  if (kinds.length > 1)
    throw new MillraceError("USAGE", `--${kinds[0]} and --${kinds[1]} exclude each other`, {
      hint: "an open loop has --rate, --ramp or --sweep; a closed loop has --concurrency",
    });
  const process = flags.arrivals === "constant" ? "constant" : "poisson";
  const seconds = (): number => {
    if (duration !== undefined) return duration;
    throw new MillraceError("USAGE", `--${kinds[0]} needs --duration`, {
      hint: "e.g. --duration 120s",
    });
  };
  switch (kinds[0]) {
    case "trace":
      return { type: "trace", path: String(flags.trace) };
    case "concurrency":
      return { type: "closed", concurrency: flags.concurrency as number };
    case "ramp": {
      const [fromQps, toQps] = rangeOf(String(flags.ramp), "--ramp");
      return { type: "ramp", fromQps, toQps, seconds: seconds(), process };
    }
    case "sweep": {
      const rates = String(flags.sweep).split(",").map(Number);
      if (rates.some((rate) => !(rate > 0)))
        throw new MillraceError("USAGE", `--sweep: ${String(flags.sweep)} is not a list of rates`);
      const each = seconds() / rates.length;
      return { type: "sweep", stages: rates.map((qps) => ({ qps, seconds: each })), process };
    }
    default: {
      const qps = (flags.rate as number | undefined) ?? 1;
      if (flags.arrivals === "gamma")
        return { type: "gamma", qps, cv: (flags.cv as number | undefined) ?? 2 };
      return process === "poisson" ? { type: "poisson", qps } : { type: "static", qps };
    }
  }
}

/** `5` or `2..8`. */
function rangeOf(text: string, flag: string): readonly [number, number] {
  const [low, high = low] = text.split("..").map(Number);
  if (low !== undefined && high !== undefined && low >= 0 && high >= low && high > 0)
    return [low, high];
  throw new MillraceError("USAGE", `${flag}: ${JSON.stringify(text)} is not a number or a range`, {
    hint: "write e.g. 256 or 100..400",
  });
}

function lengthsOf(flags: Flags): LengthSpec {
  const { shape, promptTokens, outputTokens } = flags;
  if (shape !== undefined) {
    if (promptTokens !== undefined || outputTokens !== undefined)
      throw new MillraceError("USAGE", "--shape has its own lengths", {
        hint: "leave --prompt-tokens and --output-tokens out",
      });
    return { type: "shape", name: String(shape) };
  }
  const prompt = rangeOf(String(promptTokens ?? 256), "--prompt-tokens");
  const output = rangeOf(String(outputTokens ?? 64), "--output-tokens");
  if (prompt[0] === prompt[1] && output[0] === output[1])
    return { type: "fixed", prompt: prompt[0], output: output[0] };
  return {
    type: "range",
    prompt: { min: Math.max(1, prompt[0]), max: prompt[1] },
    output: { min: Math.max(1, output[0]), max: output[1] },
  };
}

function prefixOf(text: string): NonNullable<LoadSpec["prompts"]> {
  const [prefixTokens, prefixGroups = 1] = text.split(":").map(Number);
  if (!Number.isInteger(prefixTokens) || !Number.isInteger(prefixGroups) || prefixGroups < 1)
    throw new MillraceError(
      "USAGE",
      `--shared-prefix: ${JSON.stringify(text)} is not tokens[:groups]`,
    );
  return { type: "synthetic", cache: "shared", prefixTokens: prefixTokens as number, prefixGroups };
}

function turnsOf(text: string): number | { readonly min: number; readonly max: number } {
  const [min, max] = rangeOf(text, "--turns");
  return min === max ? min : { min, max };
}

function costOf(text: string): NonNullable<LoadSpec["cost"]> {
  const [maxDollars, perMillionPrompt, perMillionOutput] = text.split(":").map(Number);
  if ([maxDollars, perMillionPrompt, perMillionOutput].some((n) => n === undefined || !(n >= 0)))
    throw new MillraceError(
      "USAGE",
      `--max-cost: ${JSON.stringify(text)} is not dollars:prompt:output`,
      {
        hint: "e.g. 5:2.5:10 for at most $5 at $2.50 and $10 per million tokens",
      },
    );
  return {
    maxDollars: maxDollars as number,
    perMillionPrompt: perMillionPrompt as number,
    perMillionOutput: perMillionOutput as number,
  };
}
