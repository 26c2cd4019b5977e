/**
 * What a twin leaves to chance: steps and transport scatter as they were seen to. Every draw comes from the seed, so that a
 * prediction can be made again, and made several times to see how much of it is chance.
 */
import { Rng } from "@millrace/core";
import { JitteredCost, type StepCostModel, type TransportCost } from "@millrace/serving";
import type { TwinCost } from "./capacity.ts";

/** Of the ranks of a profile. */
const RANKS = 1000;

/** The draws of one run. */
export class Chance {
  /** What each step takes. */
  readonly cost: StepCostModel;
  private readonly transport: TransportCost | null;
  private readonly arrivals: Rng;
  private readonly deliveries: Rng;
  /** Place in the deliveries seen. */
  private at = 0;

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
      arrival + arrivalPerToken * promptTokens + drawn(arrivalSpread, this.arrivals.next()),
    );
  }

  /**
   * Seconds from the end of a step to the arrival of its token; `first`: of the first token of a stream. The tokens of a stream
   * are as late as tokens that followed each other were seen to be, from a place that is drawn.
   */
  delivery(first: boolean): number {
    const { transport } = this;
    if (transport === null) return 0;
    const { delivery, deliverySpread, deliveryRanks } = transport;
    const { length } = deliveryRanks;
    if (length === 0) return Math.max(0, delivery + drawn(deliverySpread, this.deliveries.next()));
    this.at = first ? this.deliveries.int(0, length - 1) : (this.at + 1) % length;
    return Math.max(
      0,
      delivery + drawn(deliverySpread, (deliveryRanks[this.at] as number) / RANKS),
    );
  }
}

/** The value at a rank (0 … 1) of values at even ranks, linear between them. */
function drawn(levels: readonly number[], rank: number): number {
  const x = rank * (levels.length - 1);
  const low = Math.floor(x);
  const a = levels[low] as number;
  return low + 1 < levels.length ? a + (x - low) * ((levels[low + 1] as number) - a) : a;
}
