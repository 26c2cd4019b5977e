/** Schema of `slo` and `fluidity`: the promises a deployment has to keep, and the deadlines of the fluidity-index. */
import { z } from "zod";
import type { SloTerm } from "../types.ts";
import { positive, share } from "./quantities.ts";

/** Quantile keys a limit may be given at. */
export const quantileKeys = {
  p50: 0.5,
  p75: 0.75,
  p90: 0.9,
  p95: 0.95,
  p99: 0.99,
  "p99.9": 0.999,
  max: 1,
} as const;
type QuantileKey = keyof typeof quantileKeys;

/** The quantile that a plain number stands for: the SLOs of Vidur-Search (section 6) and its scheduling-delay rule. */
export const plainQuantile = {
  ttftMs: "p90",
  tbtMs: "p99",
  e2eMs: "p99",
  schedulingDelayMs: "p99",
  normalizedLatencyMs: "p99",
} as const satisfies Readonly<Record<string, QuantileKey>>;
type LatencyKey = keyof typeof plainQuantile;

const byQuantile = z
  .strictObject(
    Object.fromEntries(
      Object.keys(quantileKeys).map((key) => [key, positive.optional()]),
    ) as Readonly<Record<QuantileKey, z.ZodOptional<typeof positive>>>,
  )
  .refine((limits) => Object.values(limits).some((limit) => limit !== undefined), {
    error: "names no quantile",
    params: { hint: "write for example { p90: 2000 }" },
    when: (payload) => payload.issues.length === 0,
  });

const limit = (key: LatencyKey, what: string) =>
  z
    .union([positive, byQuantile])
    .optional()
    .describe(
      `${what}, milliseconds: a number is the limit of ${plainQuantile[key]}; or limits by quantile, e.g. { p50: 500, p99: 4000 }.`,
    );

const shareLimits = z.strictObject({
  index: share.optional().describe("Least fluidity-index over all requests, 0 … 1."),
  share: share.optional().describe("Least share of requests whose index is at least 0.9, 0 … 1."),
});

export const slo = z
  .strictObject({
    ttftMs: limit("ttftMs", "Time to first token"),
    tbtMs: limit("tbtMs", "Time between tokens"),
    e2eMs: limit("e2eMs", "Whole request"),
    schedulingDelayMs: limit("schedulingDelayMs", "Arrival to first scheduling"),
    normalizedLatencyMs: limit("normalizedLatencyMs", "Whole request per output token"),
    fluidity: z
      .union([share, shareLimits])
      .optional()
      .describe("Fluidity-index: a number is the least pooled index; or { index, share }."),
  })
  .describe("What has to hold. A breach ends the command with exit code 3.");
export type SloInput = z.output<typeof slo>;

export const fluidity = z
  .strictObject({
    ttftMs: positive
      .optional()
      .describe("Deadline of the first token. Default: the TTFT limit, or 2000."),
    tbtMs: positive
      .optional()
      .describe("Deadline of each further token. Default: the TBT limit, or 100."),
  })
  .describe("Deadlines that the fluidity-index is counted against.");
export type FluidityInput = z.output<typeof fluidity>;

const metricOf = {
  ttftMs: "ttft",
  tbtMs: "tbt",
  e2eMs: "e2e",
  schedulingDelayMs: "schedulingDelay",
  normalizedLatencyMs: "normalizedLatency",
} as const satisfies Readonly<Record<LatencyKey, SloTerm["metric"]>>;

/** The terms of an SLO, in the order of its keys; limits in seconds. */
export function resolveSlo(input: SloInput): readonly SloTerm[] {
  const terms: SloTerm[] = [];
  for (const key of Object.keys(plainQuantile) as LatencyKey[]) {
    const given = input[key];
    if (given === undefined) continue;
    const limits = typeof given === "number" ? { [plainQuantile[key]]: given } : given;
    for (const [quantile, ms] of Object.entries(limits)) {
      if (ms === undefined) continue;
      terms.push({
        metric: metricOf[key],
        quantile: quantileKeys[quantile as QuantileKey],
        limit: ms / 1000,
      });
    }
  }
  const fluid = typeof input.fluidity === "number" ? { index: input.fluidity } : input.fluidity;
  if (fluid?.index !== undefined)
    terms.push({ metric: "fluidity", quantile: 0, limit: fluid.index });
  if (fluid !== undefined && "share" in fluid && fluid.share !== undefined)
    terms.push({ metric: "fluidityShare", quantile: 0, limit: fluid.share });
  return terms;
}

/** The limit of a metric's highest quantile in seconds, or null: what its slowest promised case may take. */
export function tailLimit(terms: readonly SloTerm[], metric: SloTerm["metric"]): number | null {
  let tail: SloTerm | null = null;
  for (const term of terms)
    if (term.metric === metric && (tail === null || term.quantile > tail.quantile)) tail = term;
  return tail === null ? null : tail.limit;
}

/** Deadlines of the fluidity-index in seconds: as given, else the limits of the SLO, else 2 s and 100 ms. */
export function resolveFluidity(
  input: FluidityInput,
  terms: readonly SloTerm[],
): { readonly ttft: number; readonly tbt: number } {
  const seconds = (ms: number | undefined) => (ms === undefined ? null : ms / 1000);
  return {
    ttft: seconds(input.ttftMs) ?? tailLimit(terms, "ttft") ?? 2,
    tbt: seconds(input.tbtMs) ?? tailLimit(terms, "tbt") ?? 0.1,
  };
}
