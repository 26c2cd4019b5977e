/** Tells during a probe that its verdict is certain: more requests are bad already than may be, whatever comes. */
import type { RequestRecord } from "../contracts.ts";
import { requestFluidity } from "../metrics/fluidity.ts";
import type { SloTerm } from "../metrics/slo.ts";
import type { CapacityGoal } from "./verdict.ts";

/** Bad requests beyond the allowed ones before a run is cut short, so that what is measured still shows how bad it is. */
const BEYOND = 20;
/** … and as a multiple of the allowed ones. */
const TIMES = 3;
/** Share of the requests after which a run is not cut short any more: little would be saved. */
const LATE = 0.6;

interface Watched {
  readonly bad: (record: RequestRecord) => boolean;
  readonly allowed: number;
  seen: number;
}

/**
 * Watches the terms that single requests break for good: quantiles of latencies per request, fluid requests and errors.
 * Gaps and means are judged at the end alone.
 */
export class HopelessWatch {
  private readonly watched: Watched[];
  private readonly scheduled: number;
  private seen = 0;

  /** `scheduled`: requests of the run; 0 when unknown, and then nothing is certain. */
  constructor({ slo, targets, maxErrors }: CapacityGoal, scheduled: number) {
    this.scheduled = scheduled;
    const errors = slo.find(({ metric }) => metric === "errors")?.limit ?? maxErrors;
    const watch = (share: number, bad: Watched["bad"]): Watched[] =>
      scheduled > 0 ? [{ bad, allowed: share * scheduled, seen: 0 }] : [];
    const late = (term: SloTerm, us: (record: RequestRecord) => number): Watched[] =>
      typeof term.quantile === "number"
        ? watch(1 - term.quantile, (r) => r.status === "ok" && us(r) > term.limit * 1e3)
        : [];
    this.watched = [
      ...watch(errors, (r) => r.status !== "ok"),
      ...slo.flatMap((term) => {
        switch (term.metric) {
          case "ttft":
            return late(term, (r) => r.firstTokenUs - r.scheduledUs);
          case "e2e":
            return late(term, (r) => r.lastTokenUs - r.scheduledUs);
          case "fluid-requests":
            return watch(
              1 - term.limit,
              (r) => requestFluidity(r, { targets, arithmetic: "exact" }).index < 0.9,
            );
          default:
            return [];
        }
      }),
    ];
  }

  /** Takes in a record; whether the probe is missed beyond doubt. */
  hopeless(record: RequestRecord): boolean {
    if (record.warmup) return false;
    this.seen++;
    let certain = false;
    for (const watched of this.watched) {
      if (watched.bad(record)) watched.seen++;
      if (watched.seen > Math.max(watched.allowed + BEYOND, TIMES * watched.allowed))
        certain = true;
    }
    return certain && this.seen < LATE * this.scheduled;
  }
}
