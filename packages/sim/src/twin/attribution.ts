/**
 * Where the difference between a predicted and a measured run comes from. A request's time splits without rest into what
 * the client and HTTP added, waiting for the first step, and the steps from there on; the engine's decision log has the
 * measured split, the twin the predicted one.
 */
import type { ServedRequest } from "@millrace/serving";
import type { ClientRequest } from "./figures.ts";

/** Mean seconds per request. */
export interface TimeSplit {
  /** From the scheduled time to the offer to the scheduler: client, HTTP, tokenisation. */
  readonly arrival: number;
  /** From there to the first step that computes the request. */
  readonly queueing: number;
  /** From there to the end of the step that gave the first token. */
  readonly prefill: number;
  /** From the first token to the last, at the engine. */
  readonly decode: number;
  /** From the end of the last step to the last token at the client. */
  readonly delivery: number;
}

export const splitParts = ["arrival", "queueing", "prefill", "decode", "delivery"] as const;

/** A request of both sides on one clock: as the client saw it, and as the replica did. */
export interface SplitRequest {
  readonly client: ClientRequest;
  readonly replica: ServedRequest;
}

/** Mean split over requests that have tokens. */
export function splitOf(requests: readonly SplitRequest[]): TimeSplit {
  const sums = { arrival: 0, queueing: 0, prefill: 0, decode: 0, delivery: 0 };
  let n = 0;
  for (const { client, replica } of requests) {
    const first = replica.tokenAt[0];
    const last = replica.tokenAt.at(-1);
    const seen = client.tokenAt.at(-1);
    if (first === undefined || last === undefined || seen === undefined) continue;
    n++;
    sums.arrival += replica.offeredAt - client.arrivedAt;
    sums.queueing += replica.scheduledAt - replica.offeredAt;
    sums.prefill += first - replica.scheduledAt;
    sums.decode += last - first;
    sums.delivery += seen - last;
  }
  const mean = (sum: number): number => (n === 0 ? 0 : sum / n);
  return {
    arrival: mean(sums.arrival),
    queueing: mean(sums.queueing),
    prefill: mean(sums.prefill),
    decode: mean(sums.decode),
    delivery: mean(sums.delivery),
  };
}
