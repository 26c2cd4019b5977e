/** What a service has done: counted as it happens, over producers that come and go. */
import type { MemberCounts } from "../peers/partitioned-reader.ts";
import type { FromProducer, ProducerCounts } from "./producer-protocol.ts";
import type { ServiceStatus } from "./protocol.ts";

const namedMost = 100;

export class Tally {
  used = 0;
  detached = 0;
  private prepared = 0;
  private badSamples = 0;
  private readonly named: { readonly name: string; readonly reason: string }[] = [];
  /** Last account of every producer that runs. */
  private readonly running = new Map<number, ProducerCounts>();
  private ended: ProducerCounts | null = null;

  made(producer: number, { bad, counts }: FromProducer & { readonly kind: "made" }): void {
    this.prepared++;
    this.badSamples += bad.length;
    for (const sample of bad) if (this.named.length < namedMost) this.named.push(sample);
    this.running.set(producer, counts);
  }

  /** The producer's account is closed: its like-named successor begins at nothing. */
  gone(producer: number): void {
    const last = this.running.get(producer);
    if (last === undefined) return;
    this.running.delete(producer);
    this.ended = this.ended === null ? last : sum(this.ended, last);
  }

  report(): Pick<
    ServiceStatus,
    "prepared" | "used" | "detached" | "badSamples" | "named" | "work"
  > {
    const { prepared, used, detached, badSamples, named } = this;
    const all = [...(this.ended === null ? [] : [this.ended]), ...this.running.values()];
    return {
      prepared,
      used,
      detached,
      badSamples,
      named,
      work: all.length === 0 ? null : all.reduce(sum),
    };
  }
}

/** Totals add up; what the cache holds and the state of members are the later account's. */
function sum(a: ProducerCounts, b: ProducerCounts): ProducerCounts {
  return {
    prep: {
      samples: a.prep.samples + b.prep.samples,
      busySeconds: a.prep.busySeconds + b.prep.busySeconds,
    },
    reads: added(a.reads, b.reads, ["reads", "bytes", "storageBytes", "retries", "failures"]),
    cache: added(a.cache, b.cache, ["hits", "misses", "admitted", "refused", "evicted"]),
    members: b.members.map((member, i): MemberCounts => {
      const before = a.members[i];
      return before === undefined ? member : added(before, member, memberTotals);
    }),
    fetchSeconds: a.fetchSeconds + b.fetchSeconds,
    prepSeconds: a.prepSeconds + b.prepSeconds,
  };
}

const memberTotals = [
  "hits",
  "hitBytes",
  "misses",
  "stored",
  "refused",
  "corrupt",
  "failures",
  "skipped",
  "opened",
] as const;

/** `b` with the named fields added to those of `a`. */
function added<K extends string, T extends { readonly [name in K]: number }>(
  a: T,
  b: T,
  names: readonly K[],
): T {
  return { ...b, ...Object.fromEntries(names.map((name) => [name, a[name] + b[name]])) };
}
