/**
 * Tells when a run is certain to breach its SLO, so that it can be abandoned without changing the verdict. A term is
 * certain once so many samples are beyond its limit that its quantile lies beyond it however the rest turns out.
 */
import type { MetricsRecorder, RequestTable } from "@millrace/serving";
import type { SimulationConfig, SloTerm } from "../types.ts";

/** Gaps count as slow beyond the limit by more than the sketch's own error, twice over. */
const SKETCH_MARGIN = 1.005;

/** A term that can be decided early. */
interface Watch {
  readonly term: SloTerm;
  /** Takes in what happened until `now`; true once the term is certain to be breached. */
  breached(now: number, recorder: MetricsRecorder): boolean;
  /** Samples beyond the limit among those decided so far, over the share that may be; the same after the run. */
  pressure(): number;
}

/** Watches a run. */
export interface BreachWatch {
  /** For `simulate`'s `stop`: the first term that is certain to be breached, or null. */
  look(now: number, recorder: MetricsRecorder): SloTerm | null;
  /** Largest share of samples beyond a limit over the share allowed to be, of the terms that can be watched. */
  pressure(): number;
}

/**
 * Watches the terms of the SLO. Those on latency per token and on fluidity are only judged at the end. Looks at each
 * request once per term: O(requests) over the whole run.
 */
export function watchBreach(config: SimulationConfig, requests: RequestTable): BreachWatch {
  const watches = config.slo.flatMap((term) => watchOf(term, config, requests) ?? []);
  return {
    look: (now, recorder) => {
      let certain: SloTerm | null = null;
      for (const w of watches) if (w.breached(now, recorder)) certain ??= w.term;
      return certain;
    },
    pressure: () => watches.reduce((most, w) => Math.max(most, w.pressure()), 0),
  };
}

function watchOf(term: SloTerm, config: SimulationConfig, requests: RequestTable): Watch | null {
  switch (term.metric) {
    case "ttft":
    case "schedulingDelay":
    case "e2e":
      return watchLatency(term.metric, term, requests);
    case "tbt":
      // Vidur's restarts emit tokens again, so that the number of gaps is not known beforehand.
      return config.compatibility === "vidur" ? null : watchGaps(term, requests);
    default:
      return null;
  }
}

/** Samples beyond the limit from which on the quantile of n samples must lie beyond it too. */
function enough(n: number, quantile: number): number {
  return n - Math.floor(Math.min(Math.max(quantile, 0), 1) * (n - 1));
}

/** Each request is looked at when its limit has passed: what has not happened by then is late for good. */
function watchLatency(
  metric: "ttft" | "schedulingDelay" | "e2e",
  term: SloTerm,
  requests: RequestTable,
): Watch {
  const { count, arrivedAt } = requests;
  const needed = enough(count, term.quantile);
  let next = 0;
  let late = 0;
  return {
    term,
    breached: (now, recorder) => {
      const m = recorder.requests;
      const at =
        metric === "ttft" ? m.firstTokenAt : metric === "e2e" ? m.completedAt : m.scheduledAt;
      while (next < count && now - (arrivedAt[next] as number) > term.limit) {
        // NaN, not happened yet, compares false and is late as well.
        if (!((at[next] as number) - (arrivedAt[next] as number) <= term.limit)) late++;
        next++;
      }
      return late >= needed;
    },
    pressure: () => (next === 0 ? 0 : (late / next) * (count / needed)),
  };
}

function watchGaps(term: SloTerm, requests: RequestTable): Watch {
  let gaps = 0;
  for (let i = 0; i < requests.count; i++) gaps += (requests.outputTokens[i] as number) - 1;
  const needed = enough(gaps, term.quantile);
  let slow = 0;
  let seen = 0;
  return {
    term,
    breached: (_now, { tbt }) => {
      seen = tbt.count;
      if (seen > 0) slow = Math.round(seen * (1 - tbt.shareAtMost(term.limit * SKETCH_MARGIN)));
      return slow >= needed;
    },
    pressure: () => (seen === 0 ? 0 : (slow / seen) * (gaps / needed)),
  };
}
