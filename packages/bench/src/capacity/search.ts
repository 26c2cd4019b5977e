/**
 * The search for a capacity as a state machine: a rate to probe out, a verdict in. It knows no clock, server or SLO. Rates
 * first grow by factors until one fails, then close in on the boundary, and probes near it are repeated until enough of
 * them agree. A verdict is evidence, never proof, so a wrong one costs a few probes and not the result (etalon: one
 * wrong verdict of eight made 1.72 of 40; bench.md 1.6). Pure: equal verdicts give equal rates.
 */
import { invariant, MillraceError } from "@millrace/core";
import { CapacityPosterior } from "./posterior.ts";

export interface CapacitySearchOptions {
  /** First rate to probe, requests per second: a guess, or a prediction. */
  readonly startQps: number;
  /** Half of the belief is within a factor of 2^width of the start. Default 2, a guess in the dark; predictions about 0.2. */
  readonly width?: number;
  /** The capacity is to be known within this share. Default 0.025. */
  readonly tolerance?: number;
  /** … with this probability. Default 0.92. */
  readonly confidence?: number;
  /** Valid probes at most; default 40. */
  readonly maxProbes?: number;
  /** Rates that are probed; default a thousandth to ten thousand times the start. */
  readonly minQps?: number;
  readonly maxQps?: number;
  /** Invalid runs in a row at one rate after which the client is taken to be unable to offer it. Default 3. */
  readonly maxInvalid?: number;
}

/** What a probe showed. `invalid`: the client or the load was at fault, so nothing. */
export interface ProbeVerdict {
  readonly rateQps: number;
  readonly outcome: "met" | "missed" | "invalid";
  /** Probability, 0 … 0.5, that the sample alone turned the verdict; default 0. */
  readonly doubt?: number;
}

/**
 * Why a search ended. settled: known within the tolerance. probes: their number ran out first. above-range, below-range:
 * met at the highest rate, missed at the lowest. client-limited: the client cannot offer what would show more.
 */
export type SearchEnd = "settled" | "probes" | "above-range" | "below-range" | "client-limited";

export type SearchStep =
  | { readonly kind: "probe"; readonly rateQps: number }
  | { readonly kind: "end"; readonly reason: SearchEnd };

/** What is known of the capacity so far. Requests per second. */
export interface CapacityEstimate {
  /** Median of what is believed. */
  readonly valueQps: number;
  /** Central 90 % interval. */
  readonly lowQps: number;
  readonly highQps: number;
  /** Probability that the capacity is within the tolerance of the value. */
  readonly confidence: number;
  /** Expected share of wrong verdicts. */
  readonly errorRate: number;
  readonly probes: number;
  readonly invalid: number;
  /** Highest rate with a verdict met, lowest missed; null without one. */
  readonly highestMetQps: number | null;
  readonly lowestMissedQps: number | null;
}

/** No probe goes beyond this multiple of the highest rate that was met: overload harms, and takes long to drain. */
const GROWTH = 4;
/** Where near the end a probe tells most: this share of the tolerance beside the estimate, on the less certain side. */
const EDGE = 0.75;
/** Rates that the client could not offer, with none that it could, after which it is taken to be no use at all. */
const HOPELESS = 2;
/** How far the grid of rates goes beyond the rates that are probed. */
const MARGIN = 1.15;

/** A search. Call `next`, carry the probe out, `record` its verdict; until `next` says it is over. */
export class CapacitySearch {
  readonly options: Required<CapacitySearchOptions>;
  private readonly posterior: CapacityPosterior;
  private highestMet: number | null = null;
  private lowestMissed: number | null = null;
  private probes = 0;
  private invalid = 0;
  private invalidInRow = 0;
  private ceiling = Number.POSITIVE_INFINITY;
  private ceilings = 0;

  /** Throws MillraceError CONFIG_INVALID. */
  constructor(options: CapacitySearchOptions) {
    this.options = complete(options);
    const { startQps: rateQps, width, minQps, maxQps, tolerance } = this.options;
    this.posterior = new CapacityPosterior(
      { rateQps, width },
      { minQps: minQps / MARGIN, maxQps: maxQps * MARGIN, resolution: tolerance / 5 },
    );
  }

  /** What to do next; the same until a verdict is recorded. */
  next(): SearchStep {
    const { confidence, maxProbes, startQps, minQps, maxQps } = this.options;
    const { posterior } = this;
    if (this.probes > 0) {
      if (posterior.within(maxQps, Number.POSITIVE_INFINITY) >= confidence)
        return { kind: "end", reason: "above-range" };
      if (posterior.within(0, minQps) >= confidence) return { kind: "end", reason: "below-range" };
      if (this.confidence() >= confidence) return { kind: "end", reason: "settled" };
    }
    if (this.probes >= maxProbes) return { kind: "end", reason: "probes" };
    const wanted = this.probes === 0 ? startQps : this.best();
    const rateQps = this.belowCeiling(Math.min(Math.max(wanted, minQps), maxQps));
    return rateQps === null
      ? { kind: "end", reason: "client-limited" }
      : { kind: "probe", rateQps };
  }

  /** Takes in the verdict of a probe. */
  record({ rateQps, outcome, doubt = 0 }: ProbeVerdict): void {
    invariant(
      rateQps > 0 && doubt >= 0 && doubt <= 0.5,
      `no verdict: ${rateQps}/s, doubt ${doubt}`,
    );
    if (outcome === "invalid") {
      this.invalid++;
      this.invalidInRow++;
      if (this.invalidInRow < this.options.maxInvalid) return;
      this.invalidInRow = 0;
      this.ceilings++;
      this.ceiling = Math.min(this.ceiling, rateQps);
      return;
    }
    this.invalidInRow = 0;
    this.probes++;
    this.posterior.update(rateQps, outcome === "met", doubt);
    if (outcome === "met") this.highestMet = Math.max(rateQps, this.highestMet ?? 0);
    else this.lowestMissed = Math.min(rateQps, this.lowestMissed ?? Number.POSITIVE_INFINITY);
  }

  estimate(): CapacityEstimate {
    const { posterior } = this;
    return {
      valueQps: posterior.quantile(0.5),
      lowQps: posterior.quantile(0.05),
      highQps: posterior.quantile(0.95),
      confidence: this.confidence(),
      errorRate: posterior.errorRate(),
      probes: this.probes,
      invalid: this.invalid,
      highestMetQps: this.highestMet,
      lowestMissedQps: this.lowestMissed,
    };
  }

  private confidence(): number {
    const value = this.posterior.quantile(0.5);
    const reach = 1 + this.options.tolerance;
    return this.posterior.within(value / reach, value * reach);
  }

  /** The median halves the belief; once most of it is near, the side that more of the rest is on is probed. */
  private best(): number {
    const { posterior } = this;
    const { tolerance, startQps } = this.options;
    const value = posterior.quantile(0.5);
    const near = this.confidence();
    let rate = value;
    if (near > 0.5) {
      const above = 1 - posterior.within(0, value * (1 + tolerance));
      const below = 1 - near - above;
      const step = 1 + EDGE * tolerance;
      rate = above > below ? value * step : value / step;
    }
    return Math.min(rate, GROWTH * (this.highestMet ?? startQps));
  }

  /** Keeps away from rates that the client could not offer; null when nothing new can be learnt below them. */
  private belowCeiling(rate: number): number | null {
    const { ceiling, highestMet } = this;
    if (rate < ceiling) return rate;
    const { minQps, tolerance } = this.options;
    if (highestMet === null) {
      const lower = ceiling / GROWTH;
      return this.ceilings >= HOPELESS || lower < minQps ? null : lower;
    }
    return highestMet * (1 + 4 * tolerance) >= ceiling ? null : Math.sqrt(highestMet * ceiling);
  }
}

function complete(given: CapacitySearchOptions): Required<CapacitySearchOptions> {
  const { startQps } = given;
  const options = {
    width: 2,
    tolerance: 0.025,
    confidence: 0.92,
    maxProbes: 40,
    minQps: startQps / 1000,
    maxQps: startQps * 10_000,
    maxInvalid: 3,
    ...given,
  };
  const refuse = (what: string, hint: string): never => {
    throw new MillraceError("CONFIG_INVALID", what, { hint });
  };
  const { width, tolerance, confidence, maxProbes, minQps, maxQps, maxInvalid } = options;
  if (!(startQps > 0 && Number.isFinite(startQps)))
    refuse(`the rate to start from is ${startQps}`, "give requests per second, above 0");
  if (!(minQps > 0 && minQps <= startQps && startQps <= maxQps && minQps < maxQps))
    refuse(
      `rates from ${minQps} to ${maxQps} do not hold the start, ${startQps}`,
      "the lowest rate is above 0, the start lies between lowest and highest",
    );
  if (!(maxQps / minQps <= 1e9))
    refuse(`rates from ${minQps} to ${maxQps} are too far apart`, "name a range below 1e9");
  if (!(tolerance >= 0.002 && tolerance <= 0.5))
    refuse(`the tolerance is ${tolerance}`, "give a share from 0.002 to 0.5");
  if (!(confidence > 0.5 && confidence < 1))
    refuse(`the confidence is ${confidence}`, "give a probability above 0.5 and below 1");
  if (!(width > 0 && width <= 4))
    refuse(`the width is ${width}`, "give a number above 0, at most 4");
  for (const [name, n] of [
    ["probes", maxProbes],
    ["invalid runs in a row", maxInvalid],
  ] as const)
    if (!(Number.isSafeInteger(n) && n >= 1))
      refuse(`the most ${name} are ${n}`, "give a whole number of at least 1");
  return options;
}
