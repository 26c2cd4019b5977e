/**
 * Tells when a run is certain to breach its SLO, so that it can be abandoned without changing the verdict. A term is
 * certain once so many samples are beyond its limit that its quantile lies beyond it however the rest turns out.
 */
import type { MetricsRecorder, RequestTable } from "@millrace/serving";
import type { SimulationConfig, SloTerm } from "../types.ts";

/** Gaps count as slow beyond the limit by more than the sketch's own error, twice over. */
const SKETCH_MARGIN = 1.005;

/** A term that can be decided early; returns true once it is certain to be breached. */
type Watch = (now: number, recorder: MetricsRecorder) => boolean;

/**
 * A `stop` for `simulate`: true once some term is certain to be breached. Terms on e2e per token and fluidity are only
 * judged at the end. Looks at each request once per term: O(requests) over the whole run.
 */
export function certainBreach(
  config: SimulationConfig,
  requests: RequestTable,
): (now: number, recorder: MetricsRecorder) => boolean {
  const watches = config.slo.flatMap((term) => watchOf(term, config, requests) ?? []);
  return (now, recorder) => {
    for (const watch of watches) if (watch(now, recorder)) return true;
    return false;
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
  return (now, recorder) => {
    const m = recorder.requests;
    const at =
      metric === "ttft" ? m.firstTokenAt : metric === "e2e" ? m.completedAt : m.scheduledAt;
    while (next < count && now - (arrivedAt[next] as number) > term.limit) {
      // NaN, not happened yet, compares false and is late as well.
      if (!((at[next] as number) - (arrivedAt[next] as number) <= term.limit)) late++;
      next++;
    }
    return late >= needed;
  };
}

function watchGaps(term: SloTerm, requests: RequestTable): Watch {
  let gaps = 0;
  for (let i = 0; i < requests.count; i++) gaps += (requests.outputTokens[i] as number) - 1;
  const needed = enough(gaps, term.quantile);
  return (_now, recorder) => {
    const { tbt } = recorder;
    if (!(tbt.count >= needed)) return false;
    const slow = Math.round(tbt.count * (1 - tbt.shareAtMost(term.limit * SKETCH_MARGIN)));
    return slow >= needed;
  };
}
