/**
 * What a twin leaves to chance: steps and transport scatter as they were seen to. Every draw comes from the seed, so that a
 * prediction can be made again, and made several times to see how much of it is chance.
 */
import { Rng } from "@millrace/core";
import { JitteredCost, type StepCostModel, type TransportCost } from "@millrace/serving";
import type { TwinCost } from "./capacity.ts";

/** The draws of one run. */
export class Chance {
  /** What each step takes. */
  readonly cost: StepCostModel;
  private readonly transport: TransportCost | null;
  private readonly arrivals: Rng;
  private readonly deliveries: Rng;

  constructor({ cost, transport, jitter = null }: TwinCost, seed: string) {
    this.cost = jitter === null ? cost : new JitteredCost(cost, jitter, `${seed}/steps`);
    this.transport = transport;
    this.arrivals = new Rng(`${seed}/arrivals`);
    this.deliveries = new Rng(`${seed}/deliveries`);
  }

  /** Seconds from the client's start of a request to its offer. */
  arrival(promptTokens: number): number {
    const { transport } = this;
    if (transport === null) return 0;
    const { arrival, arrivalPerToken, arrivalSpread } = transport;
    return Math.max(
      0,
      arrival + arrivalPerToken * promptTokens + drawn(arrivalSpread, this.arrivals),
    );
  }

  /** Seconds from the end of a step to the arrival of its token. */
  delivery(): number {
    const { transport } = this;
    if (transport === null) return 0;
    return Math.max(0, transport.delivery + drawn(transport.deliverySpread, this.deliveries));
  }
}

/** A draw from values at even ranks, linear between them. */
function drawn(levels: readonly number[], rng: Rng): number {
  if (levels.length === 1) return levels[0] as number;
  const x = rng.next() * (levels.length - 1);
  const low = Math.floor(x);
  const a = levels[low] as number;
  return a + (x - low) * ((levels[low + 1] as number) - a);
}
