/** What a client sees on top of the engine, from requests whose times are known on both sides. */
import { median, quantileSorted } from "@millrace/core";
import type { TransportCost } from "./profile.ts";
import { countBelow } from "./ranks.ts";

/** One request on one clock, seconds: handed to the client's transport, offered to the scheduler, tokens on both sides. */
export interface TransportSample {
  readonly startedAt: number;
  readonly offeredAt: number;
  readonly promptTokens: number;
  /** Tokens of the prompt as the client made it. */
  readonly askedTokens: number;
  readonly emittedAt: readonly number[];
  readonly receivedAt: readonly number[];
}

/** Requests below which nothing can be fitted. */
const FEWEST = 10;

/** Fits medians and a slope over prompt tokens that is not below 0; null for fewer than ten requests. */
export function fitTransport(samples: readonly TransportSample[]): TransportCost | null {
  if (samples.length < FEWEST) return null;
  const delays = samples.map((s) => s.offeredAt - s.startedAt);
  const sizes = samples.map((s) => s.promptTokens);
  const arrivalPerToken = Math.max(0, slopeOf(sizes, delays));
  const arrival = Math.max(
    0,
    median(delays.map((delay, i) => delay - arrivalPerToken * (sizes[i] as number))),
  );
  const deliveries = samples.flatMap(({ emittedAt, receivedAt }) =>
    receivedAt.slice(0, emittedAt.length).map((received, i) => received - (emittedAt[i] as number)),
  );
  const delivery = deliveries.length === 0 ? 0 : Math.max(0, median(deliveries));
  return {
    arrival,
    arrivalPerToken,
    delivery,
    arrivalSpread: spreadOf(
      delays.map((delay, i) => delay - arrival - arrivalPerToken * (sizes[i] as number)),
    ),
    deliverySpread: spreadOf(deliveries.map((one) => one - delivery)),
    deliveryRanks: ranksOf(deliveries.slice(0, MOST_RANKS), deliveries),
    addedTokens: Math.max(0, mostFrequent(samples.map((s) => s.promptTokens - s.askedTokens))),
    requests: samples.length,
  };
}

function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 0;
}

/** Ranks kept; more only make the file longer. */
const MOST_RANKS = 4096;

/** Ranks (0 … 1000) of values among all. */
function ranksOf(values: readonly number[], all: readonly number[]): readonly number[] {
  const sorted = Float64Array.from(all).sort();
  return values.map((value) =>
    Math.round((1000 * countBelow(sorted, value)) / Math.max(1, sorted.length - 1)),
  );
}

/** Values kept of a spread. */
const LEVELS = 101;

function spreadOf(deviations: readonly number[]): readonly number[] {
  if (deviations.length === 0) return [0];
  const sorted = Float64Array.from(deviations).sort();
  return Array.from({ length: LEVELS }, (_, i) =>
    Number(quantileSorted(sorted, i / (LEVELS - 1)).toPrecision(4)),
  );
}

/** Median of the slopes of pairs (Theil and Sen): single slow requests do not move it. 0 where all x are equal. */
function slopeOf(x: readonly number[], y: readonly number[]): number {
  const slopes: number[] = [];
  const step = Math.max(1, Math.floor(x.length / 200));
  for (let i = 0; i < x.length; i += step)
    for (let j = i + step; j < x.length; j += step) {
      const dx = (x[j] as number) - (x[i] as number);
      if (dx !== 0) slopes.push(((y[j] as number) - (y[i] as number)) / dx);
    }
  return slopes.length === 0 ? 0 : median(slopes);
}
