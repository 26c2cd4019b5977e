/**
 * What a job and the service say to each other: one JSON object a line over a unix socket. The content of batches goes
 * through the ring.
 */
import type { SampleSpec } from "../batch/batch.ts";
import type { ProducerCounts } from "./producer-protocol.ts";

export const protocolVersion = 3;

/** A job's place; counts samples, as SourceState does. */
export interface Place {
  readonly seed: number;
  readonly epoch: number;
  readonly position: number;
}

export type ToService =
  | {
      readonly kind: "join";
      readonly version: number;
      /** Absent: where the others are. */
      readonly at?: Place;
      /** What the job counts on; the service refuses it when something differs. */
      readonly expect?: {
        readonly identity?: string;
        readonly batchSize?: number;
        readonly transform?: string;
      };
    }
  | {
      readonly kind: "used";
      readonly session: number;
      readonly seed: number;
      readonly sequence: number;
    }
  /** Goes elsewhere: what was delivered before is void. */
  | { readonly kind: "move"; readonly session: number; readonly at: Place }
  /** What the job would have the service have for it, from the next epoch on; see wishes.ts. */
  | { readonly kind: "wish"; readonly cacheBytes?: number; readonly producers?: number }
  | { readonly kind: "status" };

export interface Welcome {
  readonly kind: "welcome";
  readonly version: number;
  readonly job: number;
  readonly ring: string;
  readonly slots: number;
  readonly batchSize: number;
  readonly spec: SampleSpec;
  /** Samples of an epoch. */
  readonly length: number;
  readonly identity: string;
  readonly transform: string;
  readonly at: Place;
  /** Where in the ring's file deliveries to this job are written, besides being said; see mailbox.ts. */
  readonly mail: { readonly at: number; readonly ticket: number };
}

export interface Delivery {
  readonly kind: "batch";
  /** Of the move it belongs to; 0 for the join. */
  readonly session: number;
  readonly slot: number;
  readonly generation: number;
  readonly seed: number;
  readonly sequence: number;
  readonly epoch: number;
  readonly position: number;
  /** 0 when every sample of the batch was bad. */
  readonly samples: number;
  /** When the batch's last item was there, seconds of CLOCK_MONOTONIC; what a job waited until then was a fetch stall. */
  readonly fetchedAt: number;
  /** Samples of the epoch that the batch stands for, those left out included. */
  readonly planned: number;
  /** The batch could not be prepared. */
  readonly error?: string;
}

/** A delivery on the wire: an array without names, which costs half to take apart (with cold caches, as consumers do). */
export type PackedDelivery = readonly [
  kind: "batch",
  session: number,
  slot: number,
  generation: number,
  seed: number,
  sequence: number,
  epoch: number,
  position: number,
  samples: number,
  planned: number,
  fetchedAt: number,
  error?: string,
];

export function packDelivery(d: Delivery): PackedDelivery {
  const { kind, session, slot, generation, seed, sequence, epoch, position } = d;
  const place = [kind, session, slot, generation, seed, sequence, epoch, position] as const;
  const content = [d.samples, d.planned, d.fetchedAt] as const;
  return d.error === undefined ? [...place, ...content] : [...place, ...content, d.error];
}

/** What the service said, deliveries with their names. */
export function unpackMessage(message: FromService | PackedDelivery): FromService {
  if (!isPacked(message)) return message;
  const [kind, session, slot, generation, seed, sequence, epoch, position, ...rest] = message;
  const [samples, planned, fetchedAt, error] = rest;
  const place = { kind, session, slot, generation, seed, sequence, epoch, position };
  return { ...place, samples, planned, fetchedAt, ...(error !== undefined && { error }) };
}

function isPacked(message: FromService | PackedDelivery): message is PackedDelivery {
  return Array.isArray(message);
}

export interface ServiceStatus {
  readonly kind: "status";
  readonly jobs: number;
  readonly producers: number;
  readonly prepared: number;
  readonly used: number;
  readonly detached: number;
  readonly restarts: number;
  readonly badSamples: number;
  readonly named: readonly { readonly name: string; readonly reason: string }[];
  /** Slots of the ring by state. */
  readonly slots: { readonly free: number; readonly leased: number; readonly ready: number };
  /** All producers together, those that have ended included; null before the first batch. */
  readonly work: ProducerCounts | null;
}

export type FromService =
  | Welcome
  | Delivery
  | ServiceStatus
  | { readonly kind: "refused"; readonly message: string };

/** Splits a stream into lines and parses each; a line beyond `most` characters is an error. */
export class LineReader<T> {
  private rest = "";
  private readonly most: number;

  constructor(most = 1 << 20) {
    this.most = most;
  }

  /** Objects that the chunk completes. Throws SyntaxError on what is no JSON object. */
  push(chunk: string): T[] {
    const lines = (this.rest + chunk).split("\n");
    this.rest = lines.pop() as string;
    if (this.rest.length > this.most) throw new SyntaxError("a line is too long");
    return lines
      .filter((line) => line !== "")
      .map((line) => {
        const value: unknown = JSON.parse(line);
        if (typeof value !== "object" || value === null)
          throw new SyntaxError(`not an object: ${line}`);
        return value as T;
      });
  }
}
